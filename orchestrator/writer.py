"""One writer a channel: a thread that commits waiting requests in groups (rule 7).

A group is decided request by request on the state that its predecessors left, written by one script in one
transaction, and answered after the commit, refusals included: they may rest on a predecessor. A group of
refusals costs no flush.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import psycopg2
import psycopg2.errors
import structlog
from google.protobuf.message import Message
from psycopg2.extensions import connection as Connection  # noqa: N812

from orchestrator.commands import Command
from orchestrator.crash_points import crash_points
from orchestrator.database import connect, is_lost
from orchestrator.dates import Clock
from orchestrator.errors import Expired, Internal, Overloaded, Refusal, Unavailable
from orchestrator.events import Event
from orchestrator.identity import Caller
from orchestrator.lease import LEASE_S, RENEW_S, RETRY_S, Lease
from orchestrator.limits import WAITING_CALLS, check_assets
from orchestrator.loading import load, load_organizations
from orchestrator.needs import Needs
from orchestrator.pulse import Pulse
from orchestrator.state import Known, Moment
from orchestrator.statements import FEW
from orchestrator.writing import Batch, is_stored, script

log = structlog.get_logger(__name__)

GROUP_PARTS = 4_000
"""Parts of requests (tasks with their inputs and outputs, samples, …) after which a group is closed."""
GROUP_EVENTS = 2_000
"""The same for what decisions lead to: the rest of the group is put back. Nobody waits long for a big one."""
PARTS_A_SECOND = 5_000
"""What a slow machine decides; a group that may outlast the lease takes a longer one first."""
ATTEMPTS = 3
"""Of a request alone whose rows were there already: trusting, asking first, and after another channel's."""
PATIENCE_S = 8.0
"""How long a request waits for this process to become the channel's writer."""
FENCED = "SR001"
_RACE = (psycopg2.errors.UniqueViolation, psycopg2.errors.DeadlockDetected)
"""Another channel's writer was first: decided anew, the rule sees what it took and says so."""


@dataclass(slots=True)
class Job:
    """A request on its way through the writer. `reply` is whatever the deliverer knows it by.

    `parts` is what its decision takes time for, `size` its bytes, `deadline` a monotonic time, `context` the
    caller's, with its request id.
    """

    command: Command
    caller: Caller
    request: Message
    reply: Any
    method: str = ""
    parts: int = 0
    size: int = 0
    abandoned: Callable[[], bool] = lambda: False
    deadline: float = math.inf
    context: Context = field(default_factory=Context)
    since: float = field(default_factory=time.monotonic)


Outcome = Message | Refusal
Deliver = Callable[[Sequence[tuple[Job, Outcome]], Sequence[Event]], None]


class Writer:
    """The writer of one channel in this process; it writes only while it holds the channel's lease."""

    def __init__(self, url: str, channel: str, holder: str, deliver: Deliver) -> None:
        self._url = url
        self._deliver = deliver
        self._lease = Lease(channel, holder)
        self._pulse = Pulse(url, self._lease)
        self._known = Known(channel)
        self._incoming: SimpleQueue[Job | None] = SimpleQueue()
        self._waiting: deque[Job] = deque()
        self._bytes_in = self._bytes_out = 0  # each is changed by one thread only
        self._connection: Connection | None = None
        self._leads = False
        self._renewed = 0.0
        self._clock = Clock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"writer-{channel}", daemon=True)

    # ------------------------------------------------------------------ from other threads
    def start(self) -> None:
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a request; its outcome comes through `deliver`.

        Raises:
            Overloaded: too many wait already.
        """
        if self.waiting >= WAITING_CALLS:
            raise Overloaded("too many requests wait for this channel; retry in 1 s")
        self._bytes_in += job.size
        self._incoming.put(job)

    @property
    def waiting(self) -> int:
        """Requests that have not been taken into a group yet."""
        return self._incoming.qsize() + len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of requests that are in memory, those included whose clients have gone."""
        return self._bytes_in - self._bytes_out

    @property
    def leads(self) -> bool:
        return self._leads

    def stop(self) -> None:
        """Finish what is queued, let go of the channel, end the thread."""
        self._stopping.set()
        self._incoming.put(None)
        self._thread.join()

    # ------------------------------------------------------------------ the thread
    def _run(self) -> None:
        self._pulse.start()
        while not (self._stopping.is_set() and self._idle()):
            try:
                if self._leads:
                    self._turn()
                else:
                    self._wait_for_lease()
            except psycopg2.Error as error:
                log.warning("writer_database_error", channel=self._known.channel, error=str(error))
                self._abdicate()
            except Exception:  # a fault of ours costs a moment, never the channel
                log.exception("writer_failed", channel=self._known.channel)
                self._abdicate()
                self._stopping.wait(RETRY_S)
        self._pulse.stop()
        self._leave()

    def _turn(self) -> None:
        """One group, or a sign of life."""
        if not self._waiting:
            self._receive(RENEW_S)
        if time.monotonic() - self._renewed > RENEW_S:
            if not self._lease.renew(self._cursor()):
                self._abdicate()
                return
            self._renewed = time.monotonic()
        self._receive(0)
        group = self._group()
        if group:
            try:
                with self._pulse.busy():
                    self._handle(group)
            finally:
                self._bytes_out += sum(job.size for job in group)
            self._known.settle()

    def _receive(self, timeout_s: float) -> None:
        """Move what has come into `_waiting`; wait for the first for `timeout_s`."""
        try:
            job = (
                self._incoming.get(timeout=timeout_s) if timeout_s else self._incoming.get_nowait()
            )
            while True:
                if job is not None:
                    self._waiting.append(job)
                job = self._incoming.get_nowait()
        except Empty:
            return

    def _group(self) -> list[Job]:
        """The next requests. One that sweeps stands first in its group."""
        group: list[Job] = []
        parts = 0
        while self._waiting and parts < GROUP_PARTS:
            job = self._waiting[0]
            if group and job.command.sweeps(job.request):
                break
            if group and parts + job.parts > GROUP_PARTS:
                break
            group.append(self._waiting.popleft())
            parts += max(1, job.parts)
        return group

    def _wanted(self, group: list[Job]) -> list[Job]:
        """Those whose clients still wait; what nobody waits for is not written."""
        now = time.monotonic()
        late = [job for job in group if job.deadline <= now]
        if late:
            self._deliver([(job, Expired()) for job in late], [])
        return [job for job in group if job.deadline > now and not job.abandoned()]

    # ------------------------------------------------------------------ a group
    def _handle(self, group: list[Job], attempt: int = 0) -> None:
        batch, outcomes = Batch(self._known.channel), list[tuple[Job, Outcome]]()
        if not (group := self._wanted(group)):
            return
        lease_s = LEASE_S + sum(job.parts for job in group) / PARTS_A_SECOND
        try:
            if lease_s > 1.5 * LEASE_S:
                self._lease.renew(self._cursor(), lease_s)
            outcomes = self._decide(group, batch, trusting=not attempt and _is_small(group))
            if not batch.empty:
                crash_points.reach("orchestrator", group[0].method, "before")
                self._commit(batch, lease_s)
                crash_points.reach("orchestrator", group[0].method, "after")
        except psycopg2.Error as error:
            self._known.drop()
            if error.pgcode == FENCED:
                self._refuse(group, "another process has taken over this channel")
                self._abdicate()
            elif is_lost(error):
                self._recover(group, outcomes, batch)
            elif isinstance(error, _RACE) and len(group) == 1 and attempt < ATTEMPTS - 1:
                self._handle(group, attempt + 1)
            else:
                self._replay(group, error)
        except Exception as error:  # a fault of ours must not end the channel's writer
            self._known.drop()
            self._replay(group, error)
        else:
            self._deliver(outcomes, batch.events)

    def _decide(
        self, group: list[Job], batch: Batch, *, trusting: bool
    ) -> list[tuple[Job, Outcome]]:
        """Outcomes of the first of the group; those that were not decided are put back.

        `trusting` that keys and addresses are new spares a request alone the question: if they are not, the
        database refuses the rows. Only a decision that does not trust refuses, so refusals keep their order.
        """
        cursor = self._cursor()
        if not self._known.organizations:
            load_organizations(cursor, self._known)
        for stage in range(max(len(job.command.rounds) for job in group)):
            needs = Needs()
            for job in group:
                if stage < len(job.command.rounds):
                    job.command.rounds[stage](job.request, self._known, needs)
            if trusting:
                needs.trust()
            load(cursor, self._known, needs)
        outcomes: list[tuple[Job, Outcome]] = []
        for job in group:
            if len(batch.events) >= GROUP_EVENTS:
                break
            outcomes.append((job, self._decide_one(job, batch)))
        if trusting and isinstance(outcomes[0][1], Refusal):
            return self._decide(group, batch, trusting=False)
        self._put_back(group, len(outcomes))
        return outcomes

    def _put_back(self, group: list[Job], decided: int) -> None:
        """What was not decided goes to the head of the queue."""
        rest = group[decided:]
        del group[decided:]
        self._waiting.extendleft(reversed(rest))
        self._bytes_out -= sum(job.size for job in rest)

    def _decide_one(self, job: Job, batch: Batch) -> Outcome:
        moment = Moment(self._clock.now())
        try:
            decision = job.command.rule(self._known, job.caller, job.request, moment)
            check_assets(decision)
        except Refusal as refusal:
            return refusal
        self._known.apply(decision.changes)
        batch.add(decision, self._known, moment, self._lease.position + len(batch.events))
        return decision.answer

    def _commit(self, batch: Batch, lease_s: float) -> None:
        position = self._lease.position + len(batch.events)
        cursor = self._cursor()
        cursor.execute(script(cursor, batch, self._lease.epoch, position, lease_s))
        self._lease.position = position
        self._renewed = time.monotonic()

    def _replay(self, group: list[Job], error: Exception) -> None:
        """The group was rolled back: one by one, so that only the culprit fails."""
        if len(group) > 1:
            log.warning(
                "group_replayed", channel=self._known.channel, size=len(group), error=str(error)
            )
            for number, job in enumerate(group):
                if not self._leads:
                    self._refuse(group[number:], "another process has taken over this channel")
                    return
                self._handle([job])
                self._known.settle()
            return
        job = group[0]
        job.context.run(
            log.error,
            "request_failed",
            channel=self._known.channel,
            method=job.method,
            exc_info=error,
        )
        self._deliver([(job, Internal("the request could not be stored"))], [])

    def _recover(self, group: list[Job], outcomes: list[tuple[Job, Outcome]], batch: Batch) -> None:
        """The connection broke, maybe during the commit: find out, then answer or do it again."""
        self._disconnect()
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not self._stopping.is_set():
            try:
                cursor = self._cursor()
                if not self._lease.acquire(cursor):
                    break
                committed = is_stored(cursor, batch)
            except psycopg2.Error:
                self._disconnect()
                self._stopping.wait(RETRY_S)
                continue
            self._renewed = time.monotonic()
            if committed:
                self._deliver(outcomes, batch.events)
            else:
                self._handle(group)
            return
        # Not known, and somebody else may write now: the client asks by key (rule 3).
        self._refuse(group, "the database was lost during the commit; ask for the outcome by key")
        self._abdicate()

    def _refuse(self, jobs: Sequence[Job], reason: str) -> None:
        self._deliver([(job, Unavailable(reason)) for job in jobs], [])

    # ------------------------------------------------------------------ the lease
    def _wait_for_lease(self) -> None:
        self._receive(0)
        try:
            self._leads = self._lease.acquire(self._cursor())
        except psycopg2.Error:
            self._disconnect()
        if self._leads:
            crash_points.reach("orchestrator", "lease", "taken")
            self._clock.go_on_after(self._lease.moment)
            self._renewed = time.monotonic()
            log.info("channel_led", channel=self._known.channel, epoch=self._lease.epoch)
            return
        while self._waiting and time.monotonic() - self._waiting[0].since > PATIENCE_S:
            late = self._waiting.popleft()
            self._bytes_out += late.size
            self._refuse([late], "this process does not write the channel")
        if self._stopping.is_set():
            self._refuse(list(self._waiting), "the ledger is stopping")
            self._waiting.clear()
        self._stopping.wait(RETRY_S)

    def _abdicate(self) -> None:
        self._leads = False
        self._known.drop()
        self._disconnect()

    def _leave(self) -> None:
        try:
            if self._leads:
                self._lease.release(self._cursor())
        except psycopg2.Error:
            log.warning("lease_not_released", channel=self._known.channel)
        self._disconnect()

    # ------------------------------------------------------------------ small parts
    def _idle(self) -> bool:
        return not self._waiting and self._incoming.empty()

    def _cursor(self) -> Any:
        if self._connection is None:
            self._connection = connect(self._url, "write")
        return self._connection.cursor()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_small(group: list[Job]) -> bool:
    """A request alone, of few parts: to ask whether they are new costs it as much as to write them."""
    return len(group) == 1 and group[0].parts <= FEW
