"""A channel in memory: the rules with their changes applied, without database, wire or clock."""

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import Message

from orchestrator.commands import COMMANDS
from orchestrator.identity import Caller
from orchestrator.needs import Needs
from orchestrator.state import Known, Moment, NewEvent, Task
from protos.orchestrator.common_pb2 import AssetKind, NewPermissions
from protos.orchestrator.computeplan_pb2 import ComputePlan
from protos.orchestrator.computetask_pb2 import (
    TASK_ACTION_EXECUTING,
    ApplyTaskActionParam,
    ComputeTaskStatus,
    RegisterTasksParam,
)
from protos.orchestrator.datasample_pb2 import RegisterDataSamplesParam
from protos.orchestrator.event_pb2 import EventKind
from protos.orchestrator.function_pb2 import (
    FUNCTION_ACTION_BUILDING,
    FUNCTION_ACTION_READY,
    ApplyFunctionActionParam,
)
from protos.orchestrator.organization_pb2 import RegisterOrganizationParam
from tests.unit.orchestrator import requests as r

START = datetime(2024, 1, 1, tzinfo=UTC)


class Channel:
    """`channel.call("FunctionService/GetX", request, by="a")` decides, applies and remembers the events."""

    def __init__(self, *organizations: str) -> None:
        self.known = Known("mychannel")
        self.events: list[NewEvent] = []
        self._calls = 0
        for name in organizations:
            self.call(
                "OrganizationService/RegisterOrganization", RegisterOrganizationParam(), by=name
            )
        self.events.clear()

    def call(self, rpc: str, request: Message, *, by: str = "a") -> Any:
        """The answer; what an earlier call stored is known, as if the loader had fetched it.

        Raises:
            Refusal
        """
        command = COMMANDS[rpc]
        for stage in command.rounds:
            stage(request, self.known, Needs())
        self.known.builds = {key: self._builds(key) for key in self._functions()}
        self._calls += 1
        moment = Moment(START + timedelta(seconds=self._calls))
        decision = command.rule(self.known, Caller(by, "mychannel"), request, moment)
        self.known.apply(decision.changes)
        self.events.extend(decision.events)
        return decision.answer

    def told(self) -> list[str]:
        """`KIND EVENT` of the events since the last look, with the status of tasks."""
        lines = [_line(event) for event in self.events]
        self.events.clear()
        return lines

    # ------------------------------------------------------------------ shortcuts
    def plan(self, by: str = "a") -> str:
        request = r.new_plan()
        self.call("ComputePlanService/RegisterPlan", request, by=by)
        return request.key

    def function(self, *actions: int, by: str = "a", **fields: Any) -> str:
        request = r.new_function(**fields)
        self.call("FunctionService/RegisterFunction", request, by=by)
        for action in actions:
            self.build(request.key, action, by)
        return request.key

    def register(self, *tasks: Any, by: str = "a") -> list[Task]:
        answer = self.call(
            "ComputeTaskService/RegisterTasks", RegisterTasksParam(tasks=tasks), by=by
        )
        return [self.known.tasks[task.key] for task in answer.tasks]

    def data(self, by: str = "b", permissions: NewPermissions = r.PUBLIC) -> tuple[str, str]:
        """A data manager with one sample."""
        manager = r.new_data_manager(permissions)
        self.call("DataManagerService/RegisterDataManager", manager, by=by)
        sample = r.new_data_sample(manager.key)
        param = RegisterDataSamplesParam(samples=[sample])
        self.call("DataSampleService/RegisterDataSamples", param, by=by)
        return manager.key, sample.key

    def act(self, task: str, action: int, by: str = "a", log: str = "") -> None:
        param = ApplyTaskActionParam(compute_task_key=task, action=action, log=log)  # type: ignore[arg-type]
        self.call("ComputeTaskService/ApplyTaskAction", param, by=by)

    def build(self, function: str, action: int, by: str = "a") -> None:
        param = ApplyFunctionActionParam(function_key=function, action=action)  # type: ignore[arg-type]
        self.call("FunctionService/ApplyFunctionAction", param, by=by)

    def running(self, **output: Any) -> tuple[str, str]:
        """A task of "a" that executes, and its plan."""
        plan = self.plan()
        function = self.function(FUNCTION_ACTION_BUILDING, FUNCTION_ACTION_READY)
        outputs = {"model": r.new_output(**output)}
        (task,) = self.register(r.new_task(plan, function, worker="a", outputs=outputs))
        self.act(task.key, TASK_ACTION_EXECUTING)
        self.told()
        return task.key, plan

    def stored_plan(self, key: str) -> ComputePlan:
        plan = self.known.plan(key)
        assert plan is not None
        return plan

    def _functions(self) -> list[str]:
        return list(self.known.documents[AssetKind.ASSET_FUNCTION])

    def _builds(self, function: str) -> list[str]:
        waiting = (
            ComputeTaskStatus.STATUS_WAITING_FOR_BUILDER_SLOT,
            ComputeTaskStatus.STATUS_BUILDING,
        )
        tasks = self.known.tasks.values()
        return [t.key for t in tasks if t.function == function and t.status in waiting]


def _line(event: NewEvent) -> str:
    kind = AssetKind.Name(event.kind).removeprefix("ASSET_")
    what = EventKind.Name(event.event).removeprefix("EVENT_ASSET_")
    status = ""
    if event.status is not None:
        status = " " + ComputeTaskStatus.Name(event.status).removeprefix("STATUS_")
    return f"{kind} {what}{status}{' slim' if event.slim else ''}"
