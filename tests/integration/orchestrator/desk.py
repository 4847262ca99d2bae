"""A writer without a server: what is sent while its commits are held becomes one group."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from google.protobuf.message import Message

from orchestrator.commands import COMMANDS
from orchestrator.database import connect
from orchestrator.events import Event
from orchestrator.identity import Caller
from orchestrator.limits import checked_parts
from orchestrator.schema import migrate
from orchestrator.writer import Job, Outcome, Writer
from protos.orchestrator.organization_pb2 import RegisterOrganizationParam
from tests.integration.orchestrator.waiting import until
from tests.unit.orchestrator import requests as r

PATIENCE_S = 10.0
HELD = "SELECT 1 FROM channel_head WHERE channel = 'mychannel' FOR UPDATE"


class Desk:
    """A writer without a server: calls queue up while its commits are held, and are then one group."""

    def __init__(self, url: str) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self.events: list[Event] = []
        self.groups: list[int] = []
        """How many calls were answered at once."""
        self._some = threading.Condition()
        self._sent = 0
        self._lock = connect(url, "test")
        self.writer = Writer(url, "mychannel", "test", self._deliver)
        self.writer.start()
        for name in "ab":
            request = RegisterOrganizationParam()
            self.wait(self.send("OrganizationService/RegisterOrganization", request, name))
        self.events.clear()

    def _deliver(self, outcomes: Sequence[tuple[Job, Outcome]], events: Sequence[Event]) -> None:
        with self._some:
            self.groups.append(len(outcomes))
            self.outcomes |= {job.reply: outcome for job, outcome in outcomes}
            self.events += events
            self._some.notify_all()

    def send(self, rpc: str, request: Message, by: str) -> int:
        """Queue a call; the number of its outcome."""
        self._sent += 1
        self.writer.submit(
            Job(
                COMMANDS[rpc],
                Caller(by, "mychannel"),
                request,
                self._sent,
                rpc,
                parts=checked_parts(request),
                size=request.ByteSize(),
            )
        )
        return self._sent

    def wait(self, number: int) -> Outcome:
        with self._some:
            assert self._some.wait_for(lambda: number in self.outcomes, PATIENCE_S)
        return self.outcomes[number]

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is sent meanwhile waits together: one call is in its commit, the rest behind it."""
        with self._lock.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(HELD)
            try:
                self.send("ComputePlanService/RegisterPlan", r.new_plan(), "a")
                until(lambda: not self.writer.waiting)
                yield
            finally:
                cursor.execute("ROLLBACK")

    def close(self) -> None:
        self.writer.stop()
        self._lock.close()


@contextmanager
def desk(url: str) -> Iterator[Desk]:
    migrate(url)
    found = Desk(url)
    try:
        yield found
    finally:
        found.close()
