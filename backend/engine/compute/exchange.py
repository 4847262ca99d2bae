"""What runners ask of ring 1: take a result, give the next lease (rule 36). The routes do the waiting.

Claim (commit) → the lease goes out, EXECUTING on the ledger beside it (rule 2). Result, once that is answered →
outbox row (commit) → report (rule 1).
"""

import hmac
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from backend.engine.compute import decisions
from backend.engine.compute.ahead import AFTER, MOST_BYTES, AheadStore
from backend.engine.compute.claiming import Claiming
from backend.engine.compute.cluster.claiming import PodClaiming
from backend.engine.compute.cluster.leases import PodLeases
from backend.engine.compute.decisions import Answer, Verdict, back_off_s, worn_out
from backend.engine.compute.demands import Site
from backend.engine.compute.giving_up import fail_internally
from backend.engine.compute.offering import BROUGHT
from backend.engine.compute.outbox import Entry, OutboxStore
from backend.engine.compute.queue import Beat, Claimed, WorkQueue
from backend.engine.compute.reporting import Broken, Reporter
from backend.engine.compute.results import Accepted, Result, Unacceptable, accept, steps_of
from backend.engine.compute.sessions import Bound, SessionStore, digest
from backend.kit.database import Database
from backend.kit.errors import Unauthenticated
from backend.monitoring.counters import Counters
from backend.ports.ledger.client import ChannelLedger
from backend.ports.ledger.errors import LedgerError
from backend.settings import Settings
from protos.orchestrator import computetask_pb2

log = structlog.get_logger()
TRUSTED_S = 60.0
"""How long a session's token is believed without asking the database again."""
MARKER = 1 << 20
"""What a log may hold beyond its head and tail, in bytes: our own lines, and the mark of what was left out."""
OURS = (AFTER, BROUGHT)
"""Members of an offer that are none of a lease."""
LOOKS = 8
"""Claims that one look for work may spend on tasks that turn out to be over."""


class RunnerService:
    """The service behind `/runner/…` of one organization."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        ledger: Callable[[str], ChannelLedger],
        reporter: Reporter,
        counters: Counters,
        pods: PodLeases,
    ) -> None:
        self._pods = pods
        self._name = settings.NAME
        self._counters = counters
        self._secrets = settings.secret_keys
        self._outbox: Path = settings.MEDIA_ROOT / "outbox"
        self._database = database
        self._ledger = ledger
        self._reporter = reporter
        heads = settings.FUNCTION_LOG_HEAD_BYTES + settings.FUNCTION_LOG_TAIL_BYTES
        self._most_log = heads + MARKER
        self._has = Site.of(settings).has
        self._retries = settings.TASK_RETRIES
        self._back_off_s = settings.TASK_RETRY_BACKOFF_MAX
        self._known: dict[UUID, tuple[float, str, Bound | None]] = {}
        self.blocked = False
        """The last look found a task that does not fit beside those that run: a result may make room."""

    def recognized(self, session: UUID, token: str) -> bool:
        """Whether this session showed this token within the last minute."""
        until, known, _ = self._known.get(session, (0.0, "", None))
        return time.monotonic() <= until and self._shown(known, token)

    def authenticate(self, session: UUID, token: str) -> None:
        """Check a session's token; now and then note that the session lives.

        Raises:
            Unauthenticated: unknown session or wrong token (the two look the same).
        """
        now = time.monotonic()
        until, known, bound = self._known.get(session, (0.0, "", None))
        if now > until:
            until = now + TRUSTED_S
            with self._database.transaction(durable=False) as connection:
                found = SessionStore(connection).seen(session)
            known, bound = (found.token_digest, found.bound) if found else ("", None)
        if not self._shown(known, token):
            self._known.pop(session, None)
            raise Unauthenticated("Invalid runner token.", challenge="Bearer")
        if len(self._known) > 1000:
            self._known.clear()
        self._known[session] = (until, known, bound)

    def _shown(self, known: str, token: str) -> bool:
        """Whether this is the token whose digest is known, under either SECRET_KEY."""
        return any(hmac.compare_digest(known, digest(key, token)) for key in self._secrets)

    def bound(self, session: UUID) -> Bound | None:
        """What an authenticated session is for; None for a runner."""
        return self._known.get(session, (0.0, "", None))[2]

    def give(self, session: UUID, result: Result) -> Entry | None:
        """Commit a result as the task's one result; None when it was known already, or is not wanted."""
        arrived = self._pods.arrived(result) if self.bound(session) is not None else None
        with self._database.transaction() as database:
            store = OutboxStore(database)
            held = store.weigh(result.task, result.lock_token)
            if held.verdict is not Verdict.ACCEPT:
                log.info("result_" + held.verdict, task=str(result.task), session=str(session))
                return None
            if self._repeats(result, held.attempts):
                reason = result.failure.reason if result.failure else ""
                after_s = back_off_s(held.attempts + 1, most=self._back_off_s)
                store.again(result.task, reason, after_s)
                self._counters.add("celery_tasks_retried", hostname=self._name, name="compute_task")
                log.warning(
                    "task_repeated", task=str(result.task), attempt=held.attempts, reason=reason
                )
                return None
            offer = held.offer or {}
            try:
                accepted = accept(
                    result,
                    offer.get("outputs", []),
                    self._outbox,
                    most_log=self._most_log,
                    chainkeys=offer.get("chainkeys"),
                    arrived=arrived,
                )
            except Unacceptable as error:
                log.warning("result_unacceptable", task=str(result.task), reason=str(error))
                accepted = Accepted(failure="INTERNAL", reason=str(error))
            self._counters.add("substra_task_starts", start=result.start)
            steps = steps_of(result, offer.get(BROUGHT, 0))
            return store.put(result.task, held.channel, result.lock_token, accepted, steps)

    def _repeats(self, result: Result, attempts: int) -> bool:
        """Only what is nobody's fault is tried again: never a function that fails, nor what it put out."""
        internal = result.failure is not None and result.failure.category == "INTERNAL"
        return internal and attempts <= self._retries

    def open_next(self, entry: Entry) -> bool:
        """Make those tasks ready that waited for this result alone; True when there are some (`ahead`)."""
        models = entry.accepted.models
        if not models or sum(model.size for model in models) > MOST_BYTES:
            return False
        try:
            self._reporter.store(entry)
            with self._database.reading() as connection:
                return bool(AheadStore(connection).open(entry.task))
        except (Broken, OSError, SQLAlchemyError) as error:  # the event of its end opens them
            log.warning("not_opened", task=str(entry.task), error=repr(error))
            return False

    def report(self, entry: Entry) -> None:
        self._reporter.report(entry)
        self._counters.flush()

    def held(self, session: UUID) -> Claimed | None:
        """The lease that this session has already: the answer that brought it was lost."""
        with self._database.transaction(durable=False) as database:
            work = WorkQueue(database).held(session)
        return work if work is not None and self._fit(work) else None

    def take(self, session: UUID) -> Claimed | None:
        """The next task for this session; None when there is nothing.

        A claim that a crash of PostgreSQL forgets is found lost by the runner's next heartbeat, so it waits
        for no flush.
        """
        for _ in range(LOOKS):
            with self._database.transaction(durable=False) as database:
                bound = self.bound(session)
                if bound is None:
                    look = Claiming(database).claim(session, self._has)
                    self.blocked = look.blocked
                else:
                    look = PodClaiming(database).claim(session, bound)
            if look.work is None or self._fit(look.work):
                return look.work
        return None

    def start(self, work: Claimed) -> bool:
        """Tell the ledger that the task runs, while it starts: nothing leaves the machine before (rule 2).

        A task that is over loses its lease, and the runner's next heartbeat ends it. Where the ledger does
        not answer, the report says it again. False when the ledger waits for the task's parents: ask again
        once they are told.
        """
        try:
            self._ledger(work.channel).apply_task_action(
                str(work.key), computetask_pb2.TASK_ACTION_EXECUTING, "task started"
            )
        except LedgerError as error:
            answer = decisions.executing(error.illegal_transition, unknown=error.outcome_unknown)
            if answer is Answer.OVER:
                self._drop(work, error.details)
            elif answer is Answer.EARLY:
                return self._early(work, error.details)
            elif answer is Answer.AGAIN:
                log.warning("start_unanswered", task=str(work.key), error=error.details)
            elif answer is not Answer.SUCCESS:
                self._put_back(work, error)
        return True

    def _early(self, work: Claimed, reason: str) -> bool:
        """True when nobody needs to ask again: the parents come to nothing."""
        with self._database.reading() as connection:
            hopeless = AheadStore(connection).hopeless(work.key)
        if hopeless:
            self._drop(work, reason)
        return hopeless

    def lease(self, session: UUID, work: Claimed) -> dict[str, Any]:
        """The lease as it goes to this session; a pod's names addresses, which are permissions."""
        found = lease(work)
        return found if self.bound(session) is None else self._pods.signed(found)

    def beat(self, session: UUID, leases: dict[UUID, str]) -> Beat:
        with self._database.transaction(durable=False) as database:
            return WorkQueue(database).beat(session, leases)

    def canceled(self, session: UUID) -> list[UUID]:
        """Tasks of this session that have to stop. Asked now and then by idle runners too."""
        self._counters.flush()
        with self._database.transaction(durable=False) as database:
            return SessionStore(database).canceled(session)

    def _fit(self, work: Claimed) -> bool:
        """False when this lease is not to be handed out."""
        if work.canceled:
            self._drop(work, "its plan was canceled")
            return False
        if worn_out(work.attempts - 1, most=self._retries + 1):
            self._fail(work, f"{work.attempts - 1} workers were lost while running this task")
            return False
        return True

    def _drop(self, work: Claimed, reason: str) -> None:
        log.info("task_over", task=str(work.key), reason=reason)
        with self._database.transaction() as session:
            WorkQueue(session).settle(work)

    def _put_back(self, work: Claimed, error: LedgerError) -> None:
        """The ledger refused for a reason that is no final state of the task: look again later."""
        cause = "the ledger refuses the start"
        log.warning("start_failed", task=str(work.key), error=error.details)
        with self._database.transaction() as session:
            WorkQueue(session).retry(work, error.details, after_s=1.0, cause=cause, counted=False)

    def _fail(self, work: Claimed, reason: str) -> None:
        log.error("task_given_up", task=str(work.key), reason=reason)
        with self._database.transaction() as session:
            entry = fail_internally(session, work, reason)
        if entry is not None:
            self._reporter.report(entry)


def lease(work: Claimed) -> dict[str, Any]:
    """The lease as it goes to a runner (the runner protocol)."""
    offer = {name: value for name, value in (work.offer or {}).items() if name not in OURS}
    return {"task": str(work.key), "lock_token": work.lock_token, **offer}


def parents(work: Claimed) -> list[UUID]:
    """Those whose reports come before this task's start."""
    return [UUID(parent) for parent in (work.offer or {}).get(AFTER, ())]
