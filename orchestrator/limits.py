"""What the ledger accepts at once. Each limit says what it protects; docs/ledger.md tells users."""

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from orchestrator.errors import Invalid, Malformed, Overloaded
from orchestrator.state import Decision
from protos.orchestrator.computetask_pb2 import RegisterTasksParam
from protos.orchestrator.datasample_pb2 import UpdateDataSamplesParam
from protos.orchestrator.event_pb2 import EVENT_ASSET_CREATED

MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes of one message, both ways; the original stops at 4 MiB, which 10,000 tasks outgrow."""
MAX_TASKS = 10_000
"""Tasks of one call, about as many as fit into the original's 4 MiB. A batch is decided and written in one turn
of the channel's writer: with this many the others wait for a second or two, with more for as long as one client
likes."""
MAX_PARTS = 100_000
"""Tasks with their inputs and outputs, samples, models, keys, links in one call, for the same end: these take a
tenth of a task's time."""
LARGEST_ASSET = 3_500_000
"""Bytes of one asset. Its events must reach every subscriber, and clients of the original take 4 MiB: a larger
one would end their streams for ever."""
LONGEST_REASON = 65_536
"""Characters of a status change's reason, for the same end; the rest is cut off."""
WAITING_BYTES = 256 * 1024 * 1024
"""Requests of all channels that wait for their writer, in wire bytes. One always fits when none waits."""
WAITING_CALLS = 4_096
"""Requests that wait for one channel's writer."""
WAITING_READS = 2_048
"""Reads that wait for a connection."""
STREAMS = 1_000
"""Calls and event streams under way on one connection."""

M = TypeVar("M", bound=Message)
COUNTED = ("tasks", "samples", "models", "keys", "data_manager_keys")


def parse(kind: type[M], raw: bytes) -> M:
    """A request from its bytes.

    Raises:
        Malformed: they are no such message: cut off, not UTF-8, nested too deeply.
    """
    try:
        return kind.FromString(raw)
    except (DecodeError, UnicodeDecodeError):
        name = kind.DESCRIPTOR.name
        raise Malformed(f"the request cannot be read as a {name}") from None


def checked_parts(request: Message) -> int:
    """Elements of a request with their inputs and outputs: what its decision takes time for.

    Raises:
        Invalid: they would keep the writer busy for many seconds.
    """
    parts = 0
    if isinstance(request, RegisterTasksParam) and len(request.tasks) > MAX_TASKS:
        raise Invalid(
            f"{len(request.tasks)} tasks in one call, at most {MAX_TASKS} are allowed: send several calls"
        )
    for field, value in request.ListFields():
        if field.name in COUNTED:
            parts += len(value)
        if field.name == "tasks":
            parts += sum(len(task.inputs) + len(task.outputs) for task in value)
        elif field.name == "samples":
            parts += sum(len(sample.data_manager_keys) for sample in value)
    if isinstance(request, UpdateDataSamplesParam):
        parts += len(request.keys) * len(request.data_manager_keys)
    if parts > MAX_PARTS:
        raise Invalid(
            f"{parts} elements with their inputs and outputs in one call, at most {MAX_PARTS} are allowed"
        )
    return parts


def check_assets(decision: Decision) -> None:
    """Every asset that is told about fits into a message that all clients accept.

    Raises:
        Invalid
    """
    for new in decision.events:
        size = 0 if new.payload is None else new.payload.ByteSize()
        if new.task is not None and new.event == EVENT_ASSET_CREATED:
            size = len(new.task.document or b"")
        if size > LARGEST_ASSET:
            raise Invalid(f'asset "{new.key}" has more than {LARGEST_ASSET} bytes')


class Budget:
    """A shared allowance of an event loop. One request always fits into an unused one."""

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self.used = 0

    def take(self, amount: int) -> None:
        """Raises Overloaded when the allowance is used up; else `give_back` must follow."""
        if self.used and self.used + amount > self._most:
            raise Overloaded(f"too many {self._what}; retry in 1 s")
        self.used += amount

    def give_back(self, amount: int) -> None:
        self.used -= amount
