"""The commit of a group as one script: fence, changed rows, events. PostgreSQL runs it as one transaction."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
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
    parts = [
        cursor.mogrify(
            "SELECT ledger_fence(%s, %s, %s, make_interval(secs => %s))",
            (batch.channel, epoch, position, lease_s),
        )
    ]
    _addresses(cursor, batch, parts)
    for kind in sorted({kind for kind, _ in batch.puts}):
        rows = sorted((p for p in batch.puts.values() if p.kind == kind), key=lambda put: put.key)
        _puts(cursor, batch, kind, rows, parts)
    _tasks(cursor, batch, parts)
    links = [(k.task, k.identifier, k.position, k.kind, k.asset_key) for k in batch.links]
    _insert(cursor, parts, "output_asset (task, identifier, position, kind, asset_key)", links)
    columns = (
        "event (channel, position, id, asset_key, asset_kind, event_kind, moment, reason, payload,"
        " task, status, slim)"
    )
    _insert(cursor, parts, columns, [event.row() for event in batch.events])
    return b";\n".join(parts)


def _insert(cursor: Cursor, parts: list[bytes], into: str, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        one = "(" + ",".join(["%s"] * len(rows[0])) + ")"
        values = b",".join([cursor.mogrify(one, row) for row in rows])
        parts.append(b"INSERT INTO " + into.encode() + b" VALUES " + values)


def _addresses(cursor: Cursor, batch: Batch, parts: list[bytes]) -> None:
    if batch.freed:
        freed = (sorted(batch.freed),)
        parts.append(cursor.mogrify("DELETE FROM storage_address WHERE address = ANY(%s)", freed))
    for shared, suffix in ((False, b""), (True, b" ON CONFLICT DO NOTHING")):
        rows = sorted((address,) for address, kind in batch.addresses.items() if kind is shared)
        if rows:
            _insert(cursor, parts, "storage_address (address)", rows)
            parts[-1] += suffix


def _puts(cursor: Cursor, batch: Batch, kind: Kind, rows: list[Put], parts: list[bytes]) -> None:
    new = [row for row in rows if row.new]
    if new:
        into, values = _COLUMNS.get(kind, _asset_row)(batch, kind, new)
        _insert(cursor, parts, into, values)
    changed = [row for row in rows if not row.new]
    if changed:
        parts.append(
            cursor.mogrify(
                f"UPDATE {TABLES[kind]} t SET document = v.document"  # noqa: S608
                " FROM unnest(%s::uuid[], %s::bytea[]) AS v(key, document) WHERE t.key = v.key",
                ([row.key for row in changed], [_bytes(row.message) for row in changed]),
            )
        )
    if kind == ASSET_DATA_SAMPLE:
        pairs = sorted(
            (manager, row.key)
            for row in rows
            if isinstance(row.message, DataSample)
            for manager in row.message.data_manager_keys
        )
        if pairs:
            _insert(cursor, parts, "data_sample_manager (manager, sample)", pairs)
            parts[-1] += b" ON CONFLICT DO NOTHING"


def _tasks(cursor: Cursor, batch: Batch, parts: list[bytes]) -> None:
    added = sorted(batch.added.values(), key=lambda change: change.task.key)
    rows = [_task_row(batch.channel, change) for change in added]
    columns = (
        "compute_task (key, channel, plan, function, owner, worker, status, pending, has_disabled,"
        " created, document)"
    )
    _insert(cursor, parts, columns, rows)
    pairs = [(parent, change.task.key) for change in added for parent in change.parents]
    _insert(cursor, parts, "task_parent (parent, child)", pairs)
    moved = [task for key, task in sorted(batch.touched.items()) if key not in batch.added]
    if moved:
        parts.append(
            cursor.mogrify(
                "UPDATE compute_task t SET status = v.status, pending = v.pending,"
                " has_disabled = v.has_disabled"
                " FROM unnest(%s::uuid[], %s::int[], %s::int[], %s::bool[])"
                " AS v(key, status, pending, has_disabled) WHERE t.key = v.key",
                (
                    [task.key for task in moved],
                    [task.status for task in moved],
                    [task.pending for task in moved],
                    [task.has_disabled for task in moved],
                ),
            )
        )


def _task_row(channel: str, change: AddTask) -> tuple[Any, ...]:
    task = change.task
    assert task.message is not None
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
        _bytes(task.message),
    )


# ------------------------------------------------------------------ columns of each kind
Rows = tuple[str, list[tuple[Any, ...]]]


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()


def _asset_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return (
        f"{TABLES[kind]} (key, channel, created, document)",
        [(p.key, batch.channel, batch.dates[kind, p.key], _bytes(p.message)) for p in puts],
    )


def _organization_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return (
        "organization (channel, id, document)",
        [(batch.channel, p.key, _bytes(p.message)) for p in puts],
    )


def _plan_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return "compute_plan (key, channel, owner, created, document)", [
        (p.key, batch.channel, p.message.owner, batch.dates[kind, p.key], _bytes(p.message))
        for p in puts
        if isinstance(p.message, ComputePlan)
    ]


def _model_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return "model (key, channel, task, document)", [
        (p.key, batch.channel, p.message.compute_task_key, _bytes(p.message))
        for p in puts
        if isinstance(p.message, Model)
    ]


def _performance_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return "performance (task, identifier, channel, created, document)", [
        (
            p.message.compute_task_key,
            p.message.compute_task_output_identifier,
            batch.channel,
            batch.dates[kind, p.key],
            _bytes(p.message),
        )
        for p in puts
        if isinstance(p.message, Performance)
    ]


def _report_row(batch: Batch, kind: Kind, puts: Iterable[Put]) -> Rows:
    return (
        "failure_report (key, channel, document)",
        [(p.key, batch.channel, _bytes(p.message)) for p in puts],
    )


_COLUMNS = {
    ASSET_ORGANIZATION: _organization_row,
    ASSET_COMPUTE_PLAN: _plan_row,
    ASSET_MODEL: _model_row,
    ASSET_PERFORMANCE: _performance_row,
    ASSET_FAILURE_REPORT: _report_row,
}
