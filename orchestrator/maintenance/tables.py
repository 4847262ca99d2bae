"""The ledger's tables by name: their keys, what else their rows hold, and which message a document is."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from protos.orchestrator.computeplan_pb2 import ComputePlan
from protos.orchestrator.computetask_pb2 import ComputeTask
from protos.orchestrator.datamanager_pb2 import DataManager
from protos.orchestrator.datasample_pb2 import DataSample
from protos.orchestrator.failure_report_pb2 import FailureReport
from protos.orchestrator.function_pb2 import Function
from protos.orchestrator.model_pb2 import Model
from protos.orchestrator.organization_pb2 import Organization
from protos.orchestrator.performance_pb2 import Performance


@dataclass(frozen=True, slots=True)
class Shape:
    """Columns of a table."""

    key: tuple[str, ...]
    values: tuple[str, ...] = ()
    document: type[Message] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key + self.values


_ASSET = ("channel", "created", "document")
ROWS: Mapping[str, Shape] = {
    "organization": Shape(("channel", "id"), ("document",), Organization),
    "function": Shape(("key",), _ASSET, Function),
    "data_manager": Shape(("key",), _ASSET, DataManager),
    "data_sample": Shape(("key",), _ASSET, DataSample),
    "data_sample_manager": Shape(("manager", "sample")),
    "compute_plan": Shape(("key",), ("channel", "owner", "created", "document"), ComputePlan),
    "compute_task": Shape(
        ("key",),
        (
            *("channel", "plan", "function", "owner", "worker"),
            *("status", "pending", "has_disabled", "created", "document"),
        ),
        ComputeTask,
    ),
    "task_parent": Shape(("parent", "child")),
    "model": Shape(("key",), ("channel", "task", "document"), Model),
    "performance": Shape(("task", "identifier"), ("channel", "created", "document"), Performance),
    "output_asset": Shape(("task", "identifier", "position"), ("kind", "asset_key")),
    "failure_report": Shape(("key",), ("channel", "document"), FailureReport),
    "storage_address": Shape(("address",)),
}
"""Tables that follow from the events."""

EVERY = ("channel_head", "event", *ROWS)
"""All tables but Alembic's own."""
