"""The reconcile pass: ledger, rows, work and files compared, so that nothing lost stays lost.

Runs at start and every 30 s. Whatever it finds becomes ordinary work; it decides nothing that the loops would
not decide themselves.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from uuid import UUID

import structlog

from backend.engine.compute.cache import AssetCache
from backend.engine.compute.chainkeys import Chainkeys
from backend.engine.compute.janitor_store import JanitorStore, Orphan
from backend.engine.compute.queue import TOPIC, NewWork, WorkQueue
from backend.engine.compute.sessions import SessionStore
from backend.engine.compute.tables import Kind
from backend.kit.database import Database
from backend.ports.ledger.client import ChannelLedger
from backend.ports.ledger.errors import LedgerError
from backend.ports.storage import Storage
from backend.settings import Settings
from protos.orchestrator import computetask_pb2, function_pb2

log = structlog.get_logger()
EVERY_S = 30.0
OLD_S = 3600.0
ABANDONED_S = 24 * 3600.0  # longer than any upload or build
UNFINISHED = (
    computetask_pb2.STATUS_WAITING_FOR_EXECUTOR_SLOT,
    computetask_pb2.STATUS_EXECUTING,
)


class Janitor:
    """Reconciles one organization."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        storage: Storage,
        cache: AssetCache,
        chainkeys: Chainkeys,
        ledger: Callable[[str], ChannelLedger],
        wake: Callable[[set[str]], None],
    ) -> None:
        self._settings = settings
        self._me = settings.MSP_ID
        self._database = database
        self._storage = storage
        self._cache = cache
        self._chainkeys = chainkeys
        self._ledger = ledger
        self._wake = wake
        self._last = 0.0

    def turn(self) -> bool:
        """One pass when it is due; never more to do at once."""
        if self._last and time.monotonic() - self._last < EVERY_S:
            return False
        self._last = time.monotonic()
        self.reconcile()
        self.clean()
        return False

    def reconcile(self) -> None:
        """Work that should be there and is not."""
        topics: set[str] = set()
        with self._database.transaction() as session:
            store = JanitorStore(session, self._me)
            lost = store.tasks_without_work()
            works = [*lost, *store.builds_without_work(), *store.cancels_without_work()]
            works += [*store.useless_outputs(), *store.disabled_models()]
            topics |= WorkQueue(session).add(works)
            doubtful = store.ended_early()
        for work in doubtful:
            if self._still_open(work):
                log.warning("work_reopened", kind=work.kind, key=str(work.key))
                with self._database.transaction() as session:
                    JanitorStore(session, self._me).reopen(work)
                topics.add(TOPIC[work.kind])
        for channel in self._settings.CHANNELS:
            topics |= self._unknown_tasks(channel)
        if topics:
            self._wake(topics)

    def clean(self) -> None:
        """What nobody needs any more: rows, tokens, files."""
        with self._database.transaction() as session:
            store = JanitorStore(session, self._me)
            store.forget_done(OLD_S)
            if self._settings.EXPIRY_TOKEN_ENABLED:
                store.forget_tokens(self._settings.EXPIRY_TOKEN_LIFETIME)
            SessionStore(session).forget_silent()
            orphans = store.orphans(OLD_S)
            unused = store.unused(self._cached_models())
            over = store.over(list(self._chainkeys.plans()))
            reported = store.outbox()
        for orphan in orphans:
            self._orphan(orphan)
        for key in unused:
            self._cache.drop_model(key)
        for plan in over:
            self._chainkeys.forget(plan)
        self._outbox(reported)
        self._storage.prune(ABANDONED_S)

    def _still_open(self, work: NewWork) -> bool:
        """Ask the ledger whether work that we hold for done is not (its event may still be on the way)."""
        ledger, key = self._ledger(work.channel), str(work.key)
        try:
            if work.kind is Kind.BUILD:
                return ledger.function(key).status in (
                    function_pb2.FUNCTION_STATUS_WAITING,
                    function_pb2.FUNCTION_STATUS_BUILDING,
                )
            if work.kind is Kind.CANCEL:
                return True
            return ledger.task(key).status in UNFINISHED
        except LedgerError as error:
            log.info("reconcile_later", key=key, error=error.details)
            return False

    def _unknown_tasks(self, channel: str) -> set[str]:
        """Tasks that the ledger has for us and of which no work was made (a parked event, a lost row)."""
        found: list[NewWork] = []
        try:
            for status in UNFINISHED:
                filters = computetask_pb2.TaskQueryFilter(worker=self._me, status=status)
                for task in self._ledger(channel).tasks(filters):
                    plan = UUID(task.compute_plan_key)
                    found.append(NewWork(Kind.TASK, UUID(task.key), channel, plan))
        except LedgerError as error:
            log.info("reconcile_later", channel=channel, error=error.details)
            return set()
        with self._database.transaction() as session:
            return WorkQueue(session).add(found)

    def _orphan(self, orphan: Orphan) -> None:
        """A file of an hour whose asset never came: gone if the ledger does not know it either (rule 3).

        The row goes last: it alone tells the next pass of a file that a death left behind.
        """
        ledger = self._ledger(orphan.channel)
        ask = {
            "model": ledger.model,
            "function": ledger.function,
            "data_manager": ledger.data_manager,
            "data_sample": ledger.data_sample,
        }[orphan.kind]
        try:
            ask(str(orphan.key))
        except LedgerError as error:
            if not error.not_found:
                return
        else:
            return
        log.info("orphan_removed", kind=orphan.kind, key=str(orphan.key))
        for file in orphan.files:
            self._storage.delete(file)
        with self._database.transaction() as session:
            JanitorStore(session, self._me).forget(orphan)

    def _cached_models(self) -> list[UUID]:
        """Foreign models in the cache, an hour old at least."""
        limit, found = time.time() - OLD_S, []
        for path in self._cache.models.iterdir():
            if path.name.startswith(".") or path.stat().st_mtime > limit:
                continue
            found.append(UUID(path.name))
        return found

    def _outbox(self, reported: Iterable[UUID]) -> None:
        """Folders of results that were reported, refused or given up long ago."""
        kept, limit = {str(key) for key in reported}, time.time() - OLD_S
        folder = self._settings.MEDIA_ROOT / "outbox"
        if not folder.is_dir():
            return
        for path in folder.iterdir():
            if path.name not in kept and path.lstat().st_mtime < limit:
                shutil.rmtree(path, ignore_errors=True)
