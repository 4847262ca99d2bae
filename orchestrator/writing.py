"""The commit of a group as one script: fence, changed rows, events. PostgreSQL runs it as one transaction."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import Message
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from orchestrator.events import Event
from orchestrator.loading import TABLES
from orchestrator.state import (
    AddTask,
    Decision,
    FreeAddress,
    Kind,
    Known,
    Link,
    MarkDisabled,
    Moment,
    MoveTask,
    Put,
    TakeAddress,
    Task,
)
from orchestrator.statements import FEW, UNLESS_THERE, Script
from protos.orchestrator.common_pb2 import (
    ASSET_COMPUTE_PLAN,
    ASSET_DATA_SAMPLE,
    ASSET_FAILURE_REPORT,
    ASSET_MODEL,
    ASSET_ORGANIZATION,
    ASSET_PERFORMANCE,
)
from protos.orchestrator.computeplan_pb2 import ComputePlan
from protos.orchestrator.datasample_pb2 import DataSample
from protos.orchestrator.model_pb2 import Model
from protos.orchestrator.performance_pb2 import Performance

TASK_COLUMNS = (
    "key, channel, plan, function, owner, worker, status, pending, has_disabled, created, document"
)
EVENT_COLUMNS = (
    "channel, position, id, asset_key, asset_kind, event_kind, moment, reason, payload, task, status,"
    " slim"
)


@dataclass(slots=True)
class Batch:
    """Everything that a group of decisions changes, folded: each row is written once, in its last state."""

    channel: str
    puts: dict[tuple[Kind, str], Put] = field(default_factory=dict)
    added: dict[str, AddTask] = field(default_factory=dict)
    touched: dict[str, Task] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    addresses: dict[str, bool] = field(default_factory=dict)
    """Addresses to insert; True: another asset may hold it already."""
    freed: set[str] = field(default_factory=set)
    dates: dict[tuple[Kind, str], datetime] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not self.events and not self.puts

    def add(self, decision: Decision, known: Known, moment: Moment, position: int) -> None:
        """Fold in a decision that `known` has applied already; its events follow `position`."""
        for change in decision.changes:
            match change:
                case Put(kind, key, message, new):
                    before = self.puts.get((kind, key))
                    is_new = new or (before is not None and before.new)
                    self.puts[kind, key] = Put(kind, key, message, is_new)
                    self.dates.setdefault((kind, key), moment.at)
                case AddTask(task):
                    self.added[task.key] = change
                case MoveTask(key) | MarkDisabled(key):
                    self.touched[key] = known.tasks[key]
                case Link():
                    self.links.append(change)
                case TakeAddress(address, shared):
                    self.addresses[address] = shared
                case FreeAddress(address):
                    if self.addresses.pop(address, None) is None:
                        self.freed.add(address)
        for number, new_event in enumerate(decision.events, start=1):
            self.events.append(
                Event(self.channel, position + number, str(uuid.uuid4()), moment.at, new_event)
            )


def script(cursor: Cursor, batch: Batch, epoch: int, position: int, lease_s: float) -> bytes:
    """The statements, in an order of keys: writers of two channels never wait for each other in a ring."""
    made = Script(cursor)
    made.call("ledger_fence", [(batch.channel, epoch, position, timedelta(seconds=lease_s))])
    _addresses(batch, made)
    for kind in sorted({kind for kind, _ in batch.puts}):
        rows = sorted((p for p in batch.puts.values() if p.kind == kind), key=lambda put: put.key)
        _puts(batch, kind, rows, made)
    _tasks(batch, made)
    links = [(k.task, k.identifier, k.position, k.kind, k.asset_key) for k in batch.links]
    made.insert("output_asset", "task, identifier, position, kind, asset_key", links)
    made.insert("event", EVENT_COLUMNS, [event.row() for event in batch.events])
    return made.text()


def is_stored(cursor: Cursor, batch: Batch) -> bool:
    """Whether the batch has been committed, when its answer was lost."""
    if not batch.events:
        return False
    cursor.execute("SELECT 1 FROM event WHERE id = %s", (batch.events[0].id,))
    return cursor.fetchone() is not None


def _addresses(batch: Batch, made: Script) -> None:
    if batch.freed:
        made.add("DELETE FROM storage_address WHERE address = ANY(%s)", (sorted(batch.freed),))
    made.insert(
        "storage_address",
        "address",
        sorted((address,) for address, shared in batch.addresses.items() if not shared),
    )
    shared = sorted((address,) for address, shared in batch.addresses.items() if shared)
    if shared:
        made.insert_all("storage_address", "address", shared, UNLESS_THERE)


def _puts(batch: Batch, kind: Kind, rows: list[Put], made: Script) -> None:
    new = [row for row in rows if row.new]
    if new:
        made.insert(*_COLUMNS.get(kind, _asset_row)(batch, kind, new))
    changed = [row for row in rows if not row.new]
    if changed:
        made.add(
            f"UPDATE {TABLES[kind]} t SET document = v.document"  # noqa: S608
            " FROM unnest(%s::uuid[], %s::bytea[]) AS v(key, document) WHERE t.key = v.key",
            ([row.key for row in changed], [_bytes(row.message) for row in changed]),
        )
    if kind == ASSET_DATA_SAMPLE:
        pairs = sorted(
            (manager, row.key)
            for row in rows
            if isinstance(row.message, DataSample)
            for manager in row.message.data_manager_keys
        )
        if pairs:
            made.insert_all("data_sample_manager", "manager, sample", pairs, UNLESS_THERE)


def _tasks(batch: Batch, made: Script) -> None:
    added = sorted(batch.added.values(), key=lambda change: change.task.key)
    made.insert(
        "compute_task", TASK_COLUMNS, [_task_row(batch.channel, change) for change in added]
    )
    pairs = [(parent, change.task.key) for change in added for parent in change.parents]
    made.insert("task_parent", "parent, child", pairs)
    moved = [
        (task.key, task.status, task.pending, task.has_disabled)
        for key, task in sorted(batch.touched.items())
        if key not in batch.added
    ]
    if len(moved) <= FEW:
        made.call("ledger_move_task", moved)
        return
    made.add(
        "UPDATE compute_task t SET status = v.status, pending = v.pending,"
        " has_disabled = v.has_disabled"
        " FROM unnest(%s::uuid[], %s::int[], %s::int[], %s::bool[])"
        " AS v(key, status, pending, has_disabled) WHERE t.key = v.key",
        [list(column) for column in zip(*moved, strict=True)],
    )


def _task_row(channel: str, change: AddTask) -> tuple[Any, ...]:
    task = change.task
    assert task.document is not None
    return (
        task.key,
        channel,
        task.plan,
        task.function,
        task.owner,
        task.worker,
        task.status,
        task.pending,
        task.has_disabled,
        change.created,
        task.document,
    )


# ------------------------------------------------------------------ columns of each kind
Rows = tuple[str, str, list[tuple[Any, ...]]]
"""A table, columns of it, rows of them."""


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()


def _asset_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return (
        TABLES[kind],
        "key, channel, created, document",
        [(p.key, batch.channel, batch.dates[kind, p.key], _bytes(p.message)) for p in puts],
    )


def _organization_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return (
        "organization",
        "channel, id, document",
        [(batch.channel, p.key, _bytes(p.message)) for p in puts],
    )


def _plan_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return (
        "compute_plan",
        "key, channel, owner, created, document",
        [
            (p.key, batch.channel, p.message.owner, batch.dates[kind, p.key], _bytes(p.message))
            for p in puts
            if isinstance(p.message, ComputePlan)
        ],
    )


def _model_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return (
        "model",
        "key, channel, task, document",
        [
            (p.key, batch.channel, p.message.compute_task_key, _bytes(p.message))
            for p in puts
            if isinstance(p.message, Model)
        ],
    )


def _performance_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return (
        "performance",
        "task, identifier, channel, created, document",
        [
            (
                p.message.compute_task_key,
                p.message.compute_task_output_identifier,
                batch.channel,
                batch.dates[kind, p.key],
                _bytes(p.message),
            )
            for p in puts
            if isinstance(p.message, Performance)
        ],
    )


def _report_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return (
        "failure_report",
        "key, channel, document",
        [(p.key, batch.channel, _bytes(p.message)) for p in puts],
    )


_COLUMNS = {
    ASSET_ORGANIZATION: _organization_row,
    ASSET_COMPUTE_PLAN: _plan_row,
    ASSET_MODEL: _model_row,
    ASSET_PERFORMANCE: _performance_row,
    ASSET_FAILURE_REPORT: _report_row,
}
