"""Rows from events: what the ledger's tables must hold if the events tell the truth.

It reads events as a subscriber gets them and knows none of the code that wrote them, except for the tables of
the two state machines, by which it judges every step.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from orchestrator.errors import Refusal
from orchestrator.rules import states
from protos.orchestrator.computeplan_pb2 import ComputePlan
from protos.orchestrator.computetask_pb2 import (
    STATUS_DONE,
    STATUS_FAILED,
    ComputeTask,
    ComputeTaskOutputAsset,
    ComputeTaskStatus,
)
from protos.orchestrator.datamanager_pb2 import DataManager
from protos.orchestrator.datasample_pb2 import DataSample
from protos.orchestrator.event_pb2 import EVENT_ASSET_CREATED, Event
from protos.orchestrator.failure_report_pb2 import FailureReport
from protos.orchestrator.function_pb2 import Function, FunctionStatus
from protos.orchestrator.model_pb2 import Model
from protos.orchestrator.organization_pb2 import Organization
from protos.orchestrator.performance_pb2 import Performance

Key = tuple[Any, ...]
Row = dict[str, Any]
Rows = dict[str, dict[Key, Row]]
_TASK_STEPS = {(before, after) for (_, before), after in states.TASK_NEXT.items()}
_FUNCTION_STEPS = {(before, after) for (_, before), after in states.FUNCTION_NEXT.items()}


def stable(message: Message) -> bytes:
    """Bytes that are equal for equal messages."""
    return message.SerializeToString(deterministic=True)


@dataclass(slots=True)
class Rebuilt:
    """Rows by table and key; `wrong` are events that could not have happened."""

    rows: Rows = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    _parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _plans: dict[str, ComputePlan] = field(default_factory=dict)
    _functions: dict[str, Function] = field(default_factory=dict)
    _models: dict[str, str] = field(default_factory=dict)
    _holders: dict[str, set[str]] = field(default_factory=dict)
    """Who has a file under an address. Channels are read one after the other, so that a later holder may come
    before the earlier one gives the address up."""

    def take(self, event: Event) -> None:
        """The next event of its channel."""
        kind = event.WhichOneof("asset")
        if kind is None:
            self.wrong.append(f"{event.channel}: event {event.id} tells of nothing")
            return
        _TAKE[kind](self, event, getattr(event, kind))

    def finish(self) -> None:
        """What only the end tells: how many parents each task waits for, and each plan's last form."""
        tasks = self._table("compute_task")
        for key, parents in self._parents.items():
            tasks[key,]["pending"] = sum(
                tasks[parent,]["status"] != STATUS_DONE for parent in parents if (parent,) in tasks
            )
        for key, plan in self._plans.items():
            self._table("compute_plan")[key,]["document"] = stable(plan)
        self.rows["storage_address"] = {
            (address,): {} for address, holders in self._holders.items() if holders
        }

    # ------------------------------------------------------------------ by kind
    def _organization(self, event: Event, asset: Organization) -> None:
        self._put("organization", (event.channel, asset.id), event, document=stable(asset))

    def _function(self, event: Event, asset: Function) -> None:
        before = self._functions.get(asset.key)
        if before is not None and before.status != asset.status:
            self._step(event, before.status, asset.status, _FUNCTION_STEPS, FunctionStatus)
        self._functions[asset.key] = asset
        self._document("function", event, asset)
        for file in (asset.description, asset.archive, asset.image):
            self._hold(file.storage_address, asset.key)

    def _data_manager(self, event: Event, asset: DataManager) -> None:
        self._document("data_manager", event, asset)
        for file in (asset.description, asset.opener):
            self._hold(file.storage_address, asset.key)

    def _data_sample(self, event: Event, asset: DataSample) -> None:
        self._document("data_sample", event, asset)
        for manager in asset.data_manager_keys:
            self._table("data_sample_manager")[manager, asset.key] = {}

    def _plan(self, event: Event, asset: ComputePlan) -> None:
        self._document("compute_plan", event, asset, owner=asset.owner)
        self._plans[asset.key] = asset

    def _task(self, event: Event, asset: ComputeTask) -> None:
        if event.event_kind == EVENT_ASSET_CREATED:
            self._new_task(event, asset)
        else:
            row = self._table("compute_task").get((asset.key,))
            if row is None:
                self.wrong.append(f"{event.channel}: task {asset.key} moves before it is there")
                return
            self._step(event, row["status"], asset.status, _TASK_STEPS, ComputeTaskStatus)
            row["status"] = asset.status
        if asset.status == STATUS_FAILED:
            self._fail_plan(event, asset.compute_plan_key)

    def _new_task(self, event: Event, asset: ComputeTask) -> None:
        parents = tuple(
            dict.fromkeys(
                reference.parent_task_output.parent_task_key
                for reference in asset.inputs
                if reference.HasField("parent_task_output")
            )
        )
        self._judge_first_status(event, asset, parents)
        self._parents[asset.key] = parents
        for parent in parents:
            self._table("task_parent")[parent, asset.key] = {}
        document = ComputeTask()
        document.CopyFrom(asset)
        document.ClearField("status")
        self._put(
            "compute_task",
            (asset.key,),
            event,
            plan=asset.compute_plan_key,
            function=asset.function_key,
            owner=asset.owner,
            worker=asset.worker,
            status=asset.status,
            pending=0,
            has_disabled=False,
            created=_moment(event),
            document=stable(document),
        )

    def _model(self, event: Event, asset: Model) -> None:
        key = asset.compute_task_key
        self._put("model", (asset.key,), event, task=key, document=stable(asset))
        if asset.HasField("address"):
            self._hold(asset.address.storage_address, asset.key)
            self._models[asset.key] = asset.address.storage_address
            return
        if address := self._models.pop(asset.key, ""):
            self._holders[address].discard(asset.key)
        if task := self._table("compute_task").get((key,)):
            task["has_disabled"] = True

    def _performance(self, event: Event, asset: Performance) -> None:
        key = (asset.compute_task_key, asset.compute_task_output_identifier)
        self._put("performance", key, event, created=_moment(event), document=stable(asset))

    def _output(self, event: Event, asset: ComputeTaskOutputAsset) -> None:
        table = self._table("output_asset")
        task, identifier = asset.compute_task_key, asset.compute_task_output_identifier
        position = 0
        while (task, identifier, position) in table:
            position += 1
        table[task, identifier, position] = {
            "kind": asset.asset_kind,
            "asset_key": asset.asset_key,
        }

    def _report(self, event: Event, asset: FailureReport) -> None:
        self._put("failure_report", (asset.asset_key,), event, document=stable(asset))
        if asset.HasField("logs_address"):
            self._hold(asset.logs_address.storage_address, asset.asset_key)

    def _nothing(self, event: Event, asset: Message) -> None:
        """Profiling steps are told and not stored."""

    # ------------------------------------------------------------------ rules
    def _fail_plan(self, event: Event, key: str) -> None:
        """A plan's failure has no event of its own: the first task that fails in an open plan sets the date."""
        plan = self._plans.get(key)
        if plan is None or plan.HasField("cancelation_date") or plan.HasField("failure_date"):
            return
        failed = ComputePlan()
        failed.CopyFrom(plan)
        failed.failure_date.CopyFrom(event.timestamp)
        self._plans[key] = failed

    def _step(self, event: Event, before: int, after: int, steps: Any, names: Any) -> None:
        if (before, after) not in steps:
            self.wrong.append(
                f"{event.channel}: {event.asset_key} goes from {names.Name(before)}"
                f" to {names.Name(after)}"
            )

    def _judge_first_status(
        self, event: Event, asset: ComputeTask, parents: tuple[str, ...]
    ) -> None:
        tasks = self._table("compute_task")
        function = self._functions.get(asset.function_key)
        if function is None or any((parent,) not in tasks for parent in parents):
            self.wrong.append(f"{event.channel}: task {asset.key} is there before what it needs")
            return
        try:
            due = states.first_status(function.status, [tasks[p,]["status"] for p in parents])
        except (Refusal, KeyError):
            due = 0  # type: ignore[assignment]  # no status fits
        if due != asset.status:
            self.wrong.append(
                f"{event.channel}: task {asset.key} begins as"
                f" {ComputeTaskStatus.Name(asset.status)}, not {ComputeTaskStatus.Name(due)}"
            )

    # ------------------------------------------------------------------ rows
    def _table(self, name: str) -> dict[Key, Row]:
        return self.rows.setdefault(name, {})

    def _put(self, table: str, key: Key, event: Event, **columns: Any) -> None:
        before = self._table(table).get(key)
        if (before is None) is not (event.event_kind == EVENT_ASSET_CREATED):
            self.wrong.append(f"{event.channel}: {table} {key[-1]} is created twice, or never")
        if "channel" not in key and table != "organization":
            columns["channel"] = event.channel
        self._table(table)[key] = columns

    def _document(self, table: str, event: Event, asset: Any, **columns: Any) -> None:
        before = self._table(table).get((asset.key,))
        created = before["created"] if before else _moment(event)
        self._put(table, (asset.key,), event, created=created, document=stable(asset), **columns)

    def _hold(self, address: str, asset: str) -> None:
        if address:
            self._holders.setdefault(address, set()).add(asset)


def _moment(event: Event) -> datetime:
    return event.timestamp.ToDatetime(UTC)


_TAKE: dict[str, Callable[[Rebuilt, Event, Any], None]] = {
    "organization": Rebuilt._organization,
    "function": Rebuilt._function,
    "data_manager": Rebuilt._data_manager,
    "data_sample": Rebuilt._data_sample,
    "compute_plan": Rebuilt._plan,
    "compute_task": Rebuilt._task,
    "model": Rebuilt._model,
    "performance": Rebuilt._performance,
    "compute_task_output_asset": Rebuilt._output,
    "failure_report": Rebuilt._report,
    "profiling_step": Rebuilt._nothing,
}
