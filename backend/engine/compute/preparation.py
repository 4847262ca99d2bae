"""Ring 1's part of a task before a runner sees it: still wanted? Inputs local? Then the lease is offered.

The usual task of a chain has everything here already: then preparation is three queries for a whole batch of
tasks, no call, and one update in the same transaction.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlmodel import Session

from backend.engine.compute import decisions
from backend.engine.compute.cache import AssetCache, ForGood
from backend.engine.compute.decisions import Prepare, back_off_s
from backend.engine.compute.demands import Impossible, Needs, Site, needs
from backend.engine.compute.giving_up import fail_internally, fail_with_a_log
from backend.engine.compute.leases import heartbeat
from backend.engine.compute.outbox import OutboxStore
from backend.engine.compute.preparing import PreparingStore
from backend.engine.compute.queue import Claimed, WorkQueue
from backend.engine.compute.reporting import Reporter
from backend.engine.compute.store import InputAsset, TaskContext, task_contexts
from backend.engine.compute.wakeups import Signal
from backend.engine.images.transfer import ImageForGood, ImageTransfer
from backend.kit.database import Database
from backend.kit.errors import ApiError
from backend.ports.exchange import TransferStopped
from backend.ports.ledger.client import ChannelLedger
from backend.ports.ledger.errors import LedgerError
from protos.orchestrator import computetask_pb2

log = structlog.get_logger()
BATCH = 64
TRANSFERS = 4
MOST_FLYING = 2 * TRANSFERS
"""Tasks handed to the transfer threads at a time: their leases are kept only while a thread has them."""

CROWDED_S = 5.0
"""When those are looked at again that wait behind more transfers than will end in a moment."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of a task in seconds; 0: none.

    `stage_s` counts from the first preparation in vain: a large transfer that goes on is not ended.
    """

    run_s: int = 0
    stage_s: int = 0


@dataclass(frozen=True, slots=True)
class Local:
    """What of a task is on this machine: paths by asset, and the image's environment."""

    paths: dict[UUID, str]
    environment: dict[str, Any]
    needs: Needs
    transferred_us: int | None = None


class Preparation:
    """Prepares the tasks of one organization."""

    def __init__(
        self,
        database: Database,
        me: str,
        limits: Limits,
        site: Site,
        cache: AssetCache,
        images: ImageTransfer,
        ledger: Callable[[str], ChannelLedger],
        reporter: Reporter,
        wake: Callable[[set[str]], None],
        outbox: Path,
        canceled: Signal,
    ) -> None:
        """`canceled` is fired when plans are canceled: transfers look whether they are still wanted."""
        self._canceled = canceled
        self._database = database
        self._me = me
        self._limits = limits
        self._site = site
        self._cache = cache
        self._images = images
        self._ledger = ledger
        self._reporter = reporter
        self._wake = wake
        self._outbox = outbox
        self._count = threading.Lock()
        self._flying = 0
        self._pool = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="transfer")

    def turn(self) -> bool:
        """Look at a batch of new tasks; False when there was none."""
        slow: list[tuple[Claimed, TaskContext | None, Prepare]] = []
        unknown: list[Claimed] = []
        behind: list[Claimed] = []
        with self._database.transaction(durable=False) as session:
            store = PreparingStore(session)
            works = store.new(BATCH)
            contexts = task_contexts(session, [work.key for work in works])
            ready = 0
            for work in works:
                context = contexts.get(work.key)
                step = decisions.prepare(
                    context.status if context else None, context.plan_status if context else None
                )
                local = self._local(context) if step is Prepare.OFFER and context else None
                if local is not None and context is not None:
                    store.offer(work, self._offer(context, local))
                    self._profile(session, context, local)
                    ready += 1
                elif step is Prepare.DROP:
                    store.drop(work)
                elif step is Prepare.WAIT:
                    unknown.append(work)
                elif len(slow) + self._flying >= MOST_FLYING:
                    behind.append(work)
                else:
                    slow.append((store.take(work), context, step))
            store.wait(unknown, "its task is not known yet", 1.0)
            cause = "it waits for other transfers"
            store.wait(behind[:MOST_FLYING], cause, 0.5)
            store.wait(behind[MOST_FLYING:], cause, CROWDED_S)
        if ready:
            self._wake({"ready"})
        for work, context, step in slow:
            with self._count:
                self._flying += 1
            self._pool.submit(self._guarded, work, context, step)
        return bool(works)

    def offers(self, session: Session, keys: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
        """The leases of those new tasks that have everything here: what the bridge inserts READY at once.

        A large batch is left to the turns, so that the bridge's transaction stays short.
        """
        offers: dict[UUID, dict[str, Any]] = {}
        for key, context in task_contexts(session, keys[:BATCH]).items():
            if decisions.prepare(context.status, context.plan_status) is not Prepare.OFFER:
                continue
            local = self._local(context)
            if local is not None:
                offers[key] = self._offer(context, local)
                self._profile(session, context, local)
        return offers

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------------ in the pool
    def _guarded(self, work: Claimed, context: TaskContext | None, step: Prepare) -> None:
        try:
            with self._database.transaction(durable=False) as session:
                if not WorkQueue(session).extend(work):  # it waited too long for a thread
                    return
            over = partial(self._over, work)
            with heartbeat(self._database, work, over=over, signal=self._canceled) as stopped:
                if step is Prepare.CANCEL:
                    self._cancel(work)
                elif context is not None:
                    self._bring(work, context, stopped)
        except TransferStopped:  # its next look cancels it, if nobody has done so
            log.info("transfer_stopped", task=str(work.key))
            with self._database.transaction(durable=False) as session:
                WorkQueue(session).retry(work, "its plan ended", after_s=0)
            self._wake({"new"})
        except Exception as error:  # the lease runs out, and the task is looked at again
            log.exception("preparation_failed", task=str(work.key), error=repr(error))
        finally:
            with self._count:
                self._flying -= 1

    def _cancel(self, work: Claimed) -> None:
        """The plan ended before the task started (orchestrator.md 11.3)."""
        try:
            self._ledger(work.channel).apply_task_action(
                str(work.key), computetask_pb2.TASK_ACTION_CANCELED, "Compute plan is not runnable"
            )
        except LedgerError as error:
            if error.illegal_transition is None:
                self._again(work, error)
                return
        with self._database.transaction() as session:
            WorkQueue(session).settle(work)

    def _over(self, work: Claimed) -> bool:
        """Whether the plan ended while the task's inputs were on their way."""
        with self._database.transaction(durable=False) as session:
            context = task_contexts(session, [work.key]).get(work.key)
        return context is not None and context.plan_status in decisions.ENDED_PLANS

    def _bring(self, work: Claimed, context: TaskContext, stopped: Callable[[], bool]) -> None:
        """Fetch and unpack what is missing, then offer the lease; give up only for good (rule 44)."""
        try:
            local = self._fetched(context, stopped)
        except Impossible as error:
            log.error("task_impossible", task=str(work.key), reason=str(error))
            entry = fail_with_a_log(self._database, self._outbox, work, str(error))
            if entry is not None:
                self._reporter.report(entry)
            return
        except (ForGood, ImageForGood) as error:
            log.error("task_impossible", task=str(work.key), reason=str(error))
            with self._database.transaction() as session:
                entry = fail_internally(session, work, str(error))
            if entry is not None:
                self._reporter.report(entry)
            return
        except (ApiError, OSError) as error:
            self._again(work, error)
            return
        with self._database.transaction() as session:
            offered = PreparingStore(session).offer(work, self._offer(context, local))
            self._profile(session, context, local)
        if offered:
            self._wake({"ready"})

    def _fetched(self, context: TaskContext, stopped: Callable[[], bool]) -> Local:
        if context.unresolved:
            raise OSError(f"inputs are not known yet: {', '.join(sorted(context.unresolved))}")
        if not context.image:
            raise OSError("the function's image is not known yet")
        wanted = needs(self._site, context.function_metadata, context.plan_metadata)
        started = time.monotonic()
        environment = self._images.bring(
            context.function, context.function_owner, context.channel, context.image, stopped
        )
        duration = decisions.clamp_microseconds(time.monotonic() - started)
        paths = {a.key: str(self._cache.bring(a, context.channel, stopped)) for a in context.inputs}
        return Local(paths, environment, wanted, duration)

    def _again(self, work: Claimed, error: Exception) -> None:
        cause = str(error) or repr(error)
        log.warning("task_waits", task=str(work.key), cause=cause)
        with self._database.transaction() as session:
            attempts, waited_s = PreparingStore(session).tries(work)
            if not decisions.too_long(waited_s, self._limits.stage_s):
                WorkQueue(session).retry(
                    work, cause, after_s=back_off_s(attempts), cause=cause[:500], counted=True
                )
                return
            reason = f"its inputs did not come within {self._limits.stage_s:g} s: {cause}"
            entry = fail_internally(session, work, reason)
        if entry is not None:
            self._reporter.report(entry)

    # ------------------------------------------------------------------ what a lease holds
    def _local(self, context: TaskContext) -> Local | None:
        """Everything is here: its paths; else None."""
        if context.unresolved or not context.image:
            return None
        environment = self._images.present(context.image)
        if environment is None:
            return None
        paths: dict[UUID, str] = {}
        for asset in context.inputs:
            path = self._cache.present(asset) if asset.available else None
            if path is None:
                return None
            paths[asset.key] = str(path)
        try:
            wanted = needs(self._site, context.function_metadata, context.plan_metadata)
        except Impossible:
            return None  # the slow way says it
        return Local(paths, environment, wanted)

    def _offer(self, context: TaskContext, local: Local) -> dict[str, Any]:
        """The lease without task and lock token (the runner protocol)."""
        return {
            "plan": str(context.plan),
            "rank": context.rank,
            "function": str(context.function),
            "timeout_s": self._limits.run_s,
            "resources": asdict(local.needs),
            "environment": local.environment,
            "inputs": [_input(asset, local.paths[asset.key]) for asset in context.inputs],
            "outputs": [
                {"identifier": slot.identifier, "kind": slot.kind, "multiple": slot.multiple}
                for slot in context.outputs
            ],
        }

    def _profile(self, session: Session, context: TaskContext, local: Local) -> None:
        """A foreign function has one step more (rest-api.md 16)."""
        if context.function_owner != self._me:
            steps = {"download_function": local.transferred_us or 0}
            OutboxStore(session).steps(context.key, steps)


def _input(asset: InputAsset, path: str) -> dict[str, Any]:
    return {
        "identifier": asset.identifier,
        "kind": asset.kind,
        "key": str(asset.key),
        "path": path,
        "multiple": asset.multiple,
    }
