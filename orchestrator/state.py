"""What the writer of a channel knows, and the changes that a decision asks for.

`Known` holds what the loader fetched and what earlier decisions of the same writer left. Rules read it and
never change it: they return a `Decision`, which `Known.apply` carries over once the rule has not refused.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.errors import Conflict
from orchestrator.rules.states import TaskStatus
from protos.orchestrator.common_pb2 import (
    ASSET_COMPUTE_PLAN,
    ASSET_DATA_MANAGER,
    ASSET_DATA_SAMPLE,
    ASSET_FUNCTION,
    ASSET_MODEL,
    AssetKind,
)
from protos.orchestrator.computeplan_pb2 import ComputePlan
from protos.orchestrator.computetask_pb2 import ComputeTask
from protos.orchestrator.datamanager_pb2 import DataManager
from protos.orchestrator.datasample_pb2 import DataSample
from protos.orchestrator.event_pb2 import EventKind
from protos.orchestrator.function_pb2 import Function
from protos.orchestrator.model_pb2 import Model

Kind: TypeAlias = AssetKind.ValueType
DOCUMENTS: dict[Kind, type[Message]] = {
    ASSET_FUNCTION: Function,
    ASSET_DATA_MANAGER: DataManager,
    ASSET_DATA_SAMPLE: DataSample,
    ASSET_COMPUTE_PLAN: ComputePlan,
    ASSET_MODEL: Model,
}
KEPT = 5_000  # rows of a kind that stay in memory between two groups
KEPT_BYTES = 6_000_000
"""Of a kind's rows: their wire form and what Python takes for each."""
ROW_BYTES = 600
"""What Python takes for a row beside its wire form, about."""


@dataclass(slots=True)
class Link:
    """An asset registered for an output of a task."""

    task: str
    identifier: str
    position: int
    kind: Kind
    asset_key: str


@dataclass(slots=True)
class Task:
    """A compute task as the rules see it.

    `document` is its immutable wire form without status, as it is stored: a parsed message would take several
    times as much. None for a task known only by a cascade. `children` and `links` are None as long as nobody
    asked for them.
    """

    key: str
    owner: str
    worker: str
    plan: str
    function: str
    status: TaskStatus
    pending: int
    has_disabled: bool
    document: bytes | None
    children: list[str] | None = None
    links: dict[str, list[Link]] | None = None

    @property
    def message(self) -> ComputeTask | None:
        """The document, parsed anew each time."""
        return None if self.document is None else ComputeTask.FromString(self.document)


V = TypeVar("V", bound=Message | Task)


def _size(row: Message | Task) -> int:
    if isinstance(row, Task):
        return ROW_BYTES + len(row.document or b"")
    return ROW_BYTES + row.ByteSize()


class Kept(OrderedDict[str, V]):
    """Rows of one kind, those that were not used for longest first, with their size."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self._sizes: dict[str, int] = {}

    def __setitem__(self, key: str, row: V) -> None:
        size = _size(row)
        self.bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        super().__setitem__(key, row)

    def clear(self) -> None:
        super().clear()
        self._sizes.clear()
        self.bytes = 0

    def shrink(self) -> None:
        """Forget rows until the rest is within KEPT and KEPT_BYTES."""
        while len(self) > KEPT or self.bytes > KEPT_BYTES:
            key, _ = self.popitem(last=False)
            self.bytes -= self._sizes.pop(key)


@dataclass(frozen=True, slots=True)
class Put:
    """An asset kept as a document: stored when `new`, else replaced."""

    kind: Kind
    key: str
    message: Message
    new: bool = True


@dataclass(frozen=True, slots=True)
class AddTask:
    task: Task
    parents: tuple[str, ...]
    created: datetime


@dataclass(frozen=True, slots=True)
class MoveTask:
    """A task's status or number of unfinished parents changes."""

    key: str
    status: TaskStatus
    pending: int


@dataclass(frozen=True, slots=True)
class MarkDisabled:
    """A model of this task lost its file."""

    task: str


@dataclass(frozen=True, slots=True)
class TakeAddress:
    """A file is stored under this address. `shared`: another asset may hold it already (function images)."""

    address: str
    shared: bool = False


@dataclass(frozen=True, slots=True)
class FreeAddress:
    address: str


Change = Put | AddTask | MoveTask | MarkDisabled | Link | TakeAddress | FreeAddress


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before it has a position. Tasks are given by `task` and their status, all else by `payload`."""

    kind: Kind
    event: EventKind.ValueType
    key: str
    payload: Message | None = None
    reason: str | None = None
    task: Task | None = None
    status: TaskStatus | None = None
    slim: bool = False


@dataclass(slots=True)
class Decision:
    """What a request leads to: the answer after the commit, and what the commit holds."""

    answer: Message
    changes: list[Change] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Moment:
    """The clock of one request: every date that it writes."""

    at: datetime

    @property
    def wire(self) -> Timestamp:
        stamp = Timestamp()
        stamp.FromDatetime(self.at)
        return stamp


class Known:
    """Everything that the rules may look at, of one channel."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.organizations: dict[str, Message] = {}
        self.documents: dict[Kind, Kept[Message]] = {kind: Kept() for kind in DOCUMENTS}
        self.tasks: Kept[Task] = Kept()
        self.builds: dict[str, list[str]] = {}
        """Function key to its tasks that wait for the builder or build, exact for the group's first request."""
        self.taken: dict[Kind, set[str]] = {}
        """Keys found in any channel among those that this group wants to create."""
        self.addresses: set[str] = set()
        """Storage addresses in use among those that this group wants to take."""

    # ------------------------------------------------------------------ look-ups
    def function(self, key: str) -> Function | None:
        found = self.documents[ASSET_FUNCTION].get(key)
        return found if isinstance(found, Function) else None

    def plan(self, key: str) -> ComputePlan | None:
        found = self.documents[ASSET_COMPUTE_PLAN].get(key)
        return found if isinstance(found, ComputePlan) else None

    def data_manager(self, key: str) -> DataManager | None:
        found = self.documents[ASSET_DATA_MANAGER].get(key)
        return found if isinstance(found, DataManager) else None

    def data_sample(self, key: str) -> DataSample | None:
        found = self.documents[ASSET_DATA_SAMPLE].get(key)
        return found if isinstance(found, DataSample) else None

    def model(self, key: str) -> Model | None:
        found = self.documents[ASSET_MODEL].get(key)
        return found if isinstance(found, Model) else None

    def is_taken(self, kind: Kind, key: str) -> bool:
        """Whether any channel has an asset of this kind and key."""
        return key in self.taken.get(kind, ())

    def check_addresses(self, addresses: Iterable[str]) -> None:
        """Every address is free, and none is asked for twice.

        Raises:
            Conflict: the first that is not.
        """
        asked: set[str] = set()
        for address in addresses:
            if address in self.addresses or address in asked:
                raise Conflict("storage address", address)
            asked.add(address)

    # ------------------------------------------------------------------ changes
    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            match change:
                case Put(kind, key, message, new):
                    if kind in self.documents:
                        self.documents[kind][key] = message
                    elif new and kind == AssetKind.ASSET_ORGANIZATION:
                        self.organizations[key] = message
                    if new:
                        self.taken.setdefault(kind, set()).add(key)
                case AddTask(task, parents):
                    self._add(task, parents)
                case MoveTask(key, status, pending):
                    self.tasks[key].status = status
                    self.tasks[key].pending = pending
                case MarkDisabled(key):
                    self.tasks[key].has_disabled = True
                case Link(key, identifier):
                    links = self.tasks[key].links
                    if links is not None:
                        links.setdefault(identifier, []).append(change)
                case TakeAddress(address):
                    self.addresses.add(address)
                case FreeAddress(address):
                    self.addresses.discard(address)

    def _add(self, task: Task, parents: Iterable[str]) -> None:
        self.tasks[task.key] = task
        self.taken.setdefault(AssetKind.ASSET_COMPUTE_TASK, set()).add(task.key)
        for parent in parents:
            children = self.tasks[parent].children
            if children is not None:
                children.append(task.key)

    # ------------------------------------------------------------------ life
    def settle(self) -> None:
        """After a group: forget what holds for one group only, and the rows that were not used for longest."""
        self.builds.clear()
        self.taken.clear()
        self.addresses.clear()
        self.tasks.shrink()
        for documents in self.documents.values():
            documents.shrink()

    def drop(self) -> None:
        """After a failed commit: nothing in memory may be trusted."""
        self.settle()
        self.organizations.clear()
        self.tasks.clear()
        for kept in self.documents.values():
            kept.clear()
