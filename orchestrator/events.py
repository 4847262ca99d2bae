"""Events: a stored row, and its form on the wire (orchestrator.md 9.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
        return self.new.task is None or self.new.task.message is not None

    def wire(self) -> bytes:
        """The message `Event`, for a complete event."""
        new = self.new
        message = _message(
            self.id, new.key, new.kind, new.event, self.channel, self.moment, new.reason
        )
        if new.task is not None:
            assert new.task.message is not None
            assert new.status is not None
            message.compute_task.CopyFrom(new.task.message)
            _finish_task(message.compute_task, new.status, slim=new.slim)
        elif new.payload is not None:
            getattr(message, FIELDS[new.kind]).CopyFrom(new.payload)
        return message.SerializeToString()


def from_row(row: Sequence[Any]) -> event_pb2.Event:
    """The message of a row of COLUMNS."""
    _, id_, key, kind, event, channel, moment, reason, payload, status, slim, document = row
    message = _message(id_, key, kind, event, channel, moment, reason)
    if payload is None:
        message.compute_task.MergeFromString(bytes(document))
        _finish_task(message.compute_task, status, slim=slim)
    else:
        asset = getattr(message, FIELDS[kind])
        asset.SetInParent()
        asset.MergeFromString(bytes(payload))
    return message


def _finish_task(task: ComputeTask, status: Any, *, slim: bool) -> None:
    task.status = status
    if slim:
        task.ClearField("inputs")
        task.ClearField("outputs")


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
