"""A long random life of a ledger: all that two organizations can do to it, in any order, refusals included."""

import random
from collections.abc import Callable

import grpc
from google.protobuf.message import Message

from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.common_pb2 import ASSET_MODEL, ASSET_PERFORMANCE, Addressable
from protos.orchestrator.computeplan_pb2 import (
    PLAN_ACTION_CANCELED,
    ApplyPlanActionParam,
    UpdateComputePlanParam,
)
from protos.orchestrator.datamanager_pb2 import UpdateDataManagerParam
from protos.orchestrator.datasample_pb2 import RegisterDataSamplesParam, UpdateDataSamplesParam
from protos.orchestrator.failure_report_pb2 import (
    ERROR_TYPE_EXECUTION,
    ERROR_TYPE_INTERNAL,
    FAILED_ASSET_COMPUTE_TASK,
    FAILED_ASSET_FUNCTION,
    NewFailureReport,
)
from protos.orchestrator.model_pb2 import NewModel, RegisterModelsParam
from protos.orchestrator.performance_pb2 import NewPerformance
from protos.orchestrator.profiling_pb2 import ProfilingStep
from tests.integration.orchestrator.member import Member
from tests.unit.orchestrator import requests as r

OUTPUTS = {
    "model": f.FunctionOutput(kind=ASSET_MODEL),
    "models": f.FunctionOutput(kind=ASSET_MODEL, multiple=True),
    "performance": f.FunctionOutput(kind=ASSET_PERFORMANCE),
}
FUNCTION_ACTIONS = (
    *[f.FUNCTION_ACTION_BUILDING] * 3,
    *[f.FUNCTION_ACTION_READY] * 3,
    f.FUNCTION_ACTION_FAILED,
    f.FUNCTION_ACTION_CANCELED,
)
DEAD = (t.STATUS_CANCELED, t.STATUS_FAILED)
TASK_ACTIONS = (
    *[t.TASK_ACTION_EXECUTING] * 12,
    *[t.TASK_ACTION_DONE] * 6,
    t.TASK_ACTION_FAILED,
    t.TASK_ACTION_CANCELED,
)


class Life:
    """`live(n)` does n random things. `done` counts what was carried out, by RPC."""

    def __init__(self, members: list[Member], seed: int) -> None:
        self.random = random.Random(seed)
        self.members = members
        self.done: dict[str, int] = {}
        self.plans: list[str] = []
        self.functions: list[str] = []
        self.managers: list[str] = []
        self.samples: list[str] = []
        self.tasks: list[str] = []
        self.executing: list[str] = []
        self.finished: list[str] = []
        self.addresses: list[Addressable] = []
        self._deeds: list[tuple[Callable[[], None], int]] = [
            (self._plan, 3),
            (self._change_plan, 2),
            (self._function, 3),
            (self._change_function, 8),
            (self._manager, 1),
            (self._samples, 2),
            (self._change_data, 2),
            (self._register, 12),
            (self._act, 30),
            (self._output, 25),
            (self._disable, 8),
            (self._fail, 3),
            (self._profile, 1),
        ]

    def live(self, deeds: int) -> None:
        for deed in (self._plan, self._function, self._manager, self._samples):
            deed()
        names, weights = zip(*self._deeds, strict=True)
        for deed in self.random.choices(names, weights, k=deeds):
            deed()

    def _call(self, rpc: str, request: Message) -> Message | None:
        """Somebody calls, mostly the first; None for a refusal."""
        caller = self.members[0] if self.random.random() < 0.9 else self.random.choice(self.members)
        try:
            answer: Message = caller.call(rpc, request)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL):
                raise
            return None
        self.done[rpc] = self.done.get(rpc, 0) + 1
        return answer

    def _one_of(self, keys: list[str]) -> str:
        """Mostly a recent one."""
        return self.random.choice(keys[-12:] if self.random.random() < 0.8 else keys)

    # ------------------------------------------------------------------ plans, functions, data
    def _plan(self) -> None:
        new = r.new_plan()
        if self._call("ComputePlanService/RegisterPlan", new):
            self.plans.append(new.key)

    def _change_plan(self) -> None:
        key = self._one_of(self.plans)
        if self.random.random() < 0.7:
            self._call(
                "ComputePlanService/UpdatePlan", UpdateComputePlanParam(key=key, name="renamed")
            )
        else:
            param = ApplyPlanActionParam(key=key, action=PLAN_ACTION_CANCELED)
            self._call("ComputePlanService/ApplyPlanAction", param)

    def _function(self) -> None:
        new = r.new_function(outputs=OUTPUTS)
        if self._call("FunctionService/RegisterFunction", new):
            self.functions.append(new.key)
            if self.random.random() < 0.5:
                self._build(new.key, f.FUNCTION_ACTION_BUILDING)
                self._build(new.key, f.FUNCTION_ACTION_READY)

    def _change_function(self) -> None:
        key = self._one_of(self.functions)
        if self.random.random() < 0.2:
            param = f.UpdateFunctionParam(key=key, name="renamed", image=r.address())
            self._call("FunctionService/UpdateFunction", param)
            return
        self._build(key, self.random.choice(FUNCTION_ACTIONS))

    def _build(self, function: str, action: "f.FunctionAction.ValueType") -> None:
        param = f.ApplyFunctionActionParam(function_key=function, action=action)
        self._call("FunctionService/ApplyFunctionAction", param)

    def _manager(self) -> None:
        new = r.new_data_manager()
        if self._call("DataManagerService/RegisterDataManager", new):
            self.managers.append(new.key)

    def _samples(self) -> None:
        new = [r.new_data_sample(self._one_of(self.managers)) for _ in range(3)]
        param = RegisterDataSamplesParam(samples=new)
        if self._call("DataSampleService/RegisterDataSamples", param):
            self.samples += [sample.key for sample in new]

    def _change_data(self) -> None:
        if self.random.random() < 0.5 or not self.samples:
            param = UpdateDataManagerParam(key=self._one_of(self.managers), name="renamed")
            self._call("DataManagerService/UpdateDataManager", param)
        else:
            update = UpdateDataSamplesParam(
                keys=[self._one_of(self.samples)], data_manager_keys=[self._one_of(self.managers)]
            )
            self._call("DataSampleService/UpdateDataSamples", update)

    # ------------------------------------------------------------------ tasks
    def _register(self) -> None:
        plan = self._one_of(self.plans)
        new: list[t.NewComputeTask] = []
        for _ in range(self.random.randrange(1, 6)):
            known = [*self.tasks[-12:], *(task.key for task in new)]
            parents = self.random.sample(known, min(len(known), self.random.randrange(3)))
            task = r.new_task(
                plan,
                self._one_of(self.functions),
                *(r.parent(parent) for parent in parents),
                worker=self.random.choice([*[self.members[0]] * 3, *self.members]).organization,
                outputs={
                    "model": r.new_output(transient=True),
                    "models": r.new_output(transient=self.random.random() < 0.5),
                    "performance": r.new_output(),
                },
            )
            new.append(task)
        answer = self._call("ComputeTaskService/RegisterTasks", t.RegisterTasksParam(tasks=new))
        if isinstance(answer, t.RegisterTasksResponse):
            # Most that can never run are left alone, or soon everything would hang on dead parents.
            self.tasks += [
                task.key
                for task in answer.tasks
                if task.status not in DEAD or self.random.random() < 0.1
            ]

    def _act(self) -> None:
        action = self.random.choice(TASK_ACTIONS)
        among = self.executing if action == t.TASK_ACTION_DONE else self.tasks
        if not among:
            return
        key = self._one_of(among)
        param = t.ApplyTaskActionParam(compute_task_key=key, action=action)
        if self._call("ComputeTaskService/ApplyTaskAction", param):
            if action == t.TASK_ACTION_EXECUTING:
                self.executing.append(key)
            elif action == t.TASK_ACTION_DONE:
                self._ended(key)
                self.finished.append(key)
            if action in (t.TASK_ACTION_FAILED, t.TASK_ACTION_CANCELED):
                self._ended(key)
                self.tasks.remove(key)

    def _output(self) -> None:
        if not self.executing:
            return
        task = self._one_of(self.executing)
        if self.random.random() < 0.3:
            performance = NewPerformance(
                compute_task_key=task,
                compute_task_output_identifier="performance",
                performance_value=self.random.random(),
            )
            self._call("PerformanceService/RegisterPerformance", performance)
            return
        new = [self._model(task) for _ in range(self.random.randrange(1, 3))]
        self._call("ModelService/RegisterModels", RegisterModelsParam(models=new))

    def _model(self, task: str) -> NewModel:
        """Sometimes at an address that another model had, and may have given up."""
        new = r.new_model(task, self.random.choice(["model", "model", "models"]))
        if self.addresses and self.random.random() < 0.2:
            new.address.CopyFrom(self.random.choice(self.addresses))
        self.addresses.append(new.address)
        return new

    def _disable(self) -> None:
        if self.finished:
            param = t.DisableOutputParam(
                compute_task_key=self.random.choice(self.finished),
                identifier=self.random.choice(["model", "models"]),
            )
            self._call("ComputeTaskService/DisableOutput", param)

    def _fail(self) -> None:
        if self.random.random() < 0.3:
            new = NewFailureReport(
                asset_key=self._one_of(self.functions),
                error_type=ERROR_TYPE_INTERNAL,
                asset_type=FAILED_ASSET_FUNCTION,
            )
        elif self.executing:
            new = NewFailureReport(
                asset_key=self._one_of(self.executing),
                error_type=ERROR_TYPE_EXECUTION,
                asset_type=FAILED_ASSET_COMPUTE_TASK,
                logs_address=r.address(),
            )
        else:
            return
        if self._call("FailureReportService/RegisterFailureReport", new):
            self._ended(new.asset_key)

    def _ended(self, task: str) -> None:
        if task in self.executing:
            self.executing.remove(task)

    def _profile(self) -> None:
        step = ProfilingStep(asset_key=self._one_of(self.functions), step="build_image", duration=7)
        self._call("ProfilingService/RegisterProfilingStep", step)
