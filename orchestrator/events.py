"""Events: a stored row, and its form on the wire (orchestrator.md 9.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from orchestrator.state import Kind, NewEvent
from protos.orchestrator import event_pb2
from protos.orchestrator.common_pb2 import (
    ASSET_COMPUTE_PLAN,
    ASSET_COMPUTE_TASK,
    ASSET_COMPUTE_TASK_OUTPUT_ASSET,
    ASSET_DATA_MANAGER,
    ASSET_DATA_SAMPLE,
    ASSET_FAILURE_REPORT,
    ASSET_FUNCTION,
    ASSET_MODEL,
    ASSET_ORGANIZATION,
    ASSET_PERFORMANCE,
    ASSET_PROFILING_STEP,
)
from protos.orchestrator.computetask_pb2 import ComputeTask

FIELDS: dict[Kind, str] = {
    ASSET_ORGANIZATION: "organization",
    ASSET_FUNCTION: "function",
    ASSET_DATA_MANAGER: "data_manager",
    ASSET_DATA_SAMPLE: "data_sample",
    ASSET_COMPUTE_PLAN: "compute_plan",
    ASSET_COMPUTE_TASK: "compute_task",
    ASSET_MODEL: "model",
    ASSET_PERFORMANCE: "performance",
    ASSET_COMPUTE_TASK_OUTPUT_ASSET: "compute_task_output_asset",
    ASSET_FAILURE_REPORT: "failure_report",
    ASSET_PROFILING_STEP: "profiling_step",
}

COLUMNS = (
    "e.position, e.id::text, e.asset_key, e.asset_kind, e.event_kind, e.channel, e.moment, e.reason,"
    " e.payload, e.status, e.slim, t.document"
)
FROM = "event e LEFT JOIN compute_task t ON t.key = e.task"


@dataclass(frozen=True, slots=True)
class Event:
    """An event with its place in the channel's order, still in the writer's memory."""

    channel: str
    position: int
    id: str
    moment: datetime
    new: NewEvent

    def row(self) -> tuple[Any, ...]:
        """Values of the table `event`. A task's snapshot is not repeated: the row refers to the task."""
        new = self.new
        return (
            self.channel,
            self.position,
            self.id,
            new.key,
            new.kind,
            new.event,
            self.moment,
            new.reason,
            new.payload.SerializeToString() if new.payload is not None else None,
            new.task.key if new.task is not None else None,
            new.status,
            new.slim,
        )

    @property
    def complete(self) -> bool:
        """False when the snapshot must be read from the table: a cascade knows tasks without documents."""
        return self.new.task is None or self.new.task.document is not None

    def wire(self) -> bytes:
        """The message `Event`, for a complete event."""
        new = self.new
        message = _message(
            self.id, new.key, new.kind, new.event, self.channel, self.moment, new.reason
        )
        if new.task is not None:
            assert new.task.document is not None
            assert new.status is not None
            asset = _task(new.task.document, new.status, slim=new.slim)
            return _with_asset(message, new.kind, asset)
        if new.payload is None:
            return message.SerializeToString()
        return _with_asset(message, new.kind, new.payload.SerializeToString())


def from_row(row: Sequence[Any]) -> event_pb2.Event:
    """The message of a row of COLUMNS."""
    return event_pb2.Event.FromString(wire_of_row(row))


def wire_of_row(row: Sequence[Any]) -> bytes:
    """The message of a row of COLUMNS in its wire form. What is stored is not parsed: replays are long."""
    _, id_, key, kind, event, channel, moment, reason, payload, status, slim, document = row
    message = _message(id_, key, kind, event, channel, moment, reason)
    asset = bytes(payload) if payload is not None else _task(bytes(document), status, slim=slim)
    return _with_asset(message, kind, asset)


def _task(document: bytes, status: Any, *, slim: bool) -> bytes:
    """A task's wire form: its document, which holds no status, and the status."""
    if not slim:
        return document + _STATUS + _varint(status)
    task = ComputeTask.FromString(document)
    task.ClearField("inputs")
    task.ClearField("outputs")
    task.status = status
    return task.SerializeToString()


def _with_asset(message: event_pb2.Event, kind: Kind, asset: bytes) -> bytes:
    """Fields may come in any order on the wire, so the asset goes behind the rest as it is."""
    return message.SerializeToString() + _TAGS[kind] + _varint(len(asset)) + asset


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)


def _tag(message: type[Message], field: str, wire_type: int) -> bytes:
    return _varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | wire_type)


_TAGS = {kind: _tag(event_pb2.Event, field, 2) for kind, field in FIELDS.items()}
_STATUS = _tag(ComputeTask, "status", 0)


def _message(
    id_: str, key: str, kind: Any, event: Any, channel: str, moment: datetime, reason: str | None
) -> event_pb2.Event:
    message = event_pb2.Event(
        id=id_, asset_key=key, asset_kind=kind, event_kind=event, channel=channel
    )
    message.timestamp.FromDatetime(moment)
    if reason is not None:
        message.metadata["reason"] = reason
    return message
