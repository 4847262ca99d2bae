"""A client of the ledger as the figures need it: plain calls, and plans of several shapes."""

import hashlib
import uuid
from collections.abc import Iterator, Sequence

import grpc

from protos.orchestrator import computeplan_pb2 as plan_pb2
from protos.orchestrator import computetask_pb2 as task_pb2
from protos.orchestrator import event_pb2, function_pb2
from protos.orchestrator.common_pb2 import (
    ASSET_DATA_MANAGER,
    ASSET_DATA_SAMPLE,
    ASSET_MODEL,
    Addressable,
    NewPermissions,
)
from protos.orchestrator.computeplan_pb2_grpc import ComputePlanServiceStub
from protos.orchestrator.computetask_pb2_grpc import ComputeTaskServiceStub
from protos.orchestrator.datamanager_pb2 import NewDataManager
from protos.orchestrator.datamanager_pb2_grpc import DataManagerServiceStub
from protos.orchestrator.datasample_pb2 import NewDataSample, RegisterDataSamplesParam
from protos.orchestrator.datasample_pb2_grpc import DataSampleServiceStub
from protos.orchestrator.event_pb2_grpc import EventServiceStub
from protos.orchestrator.function_pb2_grpc import FunctionServiceStub
from protos.orchestrator.model_pb2 import NewModel, RegisterModelsParam
from protos.orchestrator.model_pb2_grpc import ModelServiceStub
from protos.orchestrator.organization_pb2_grpc import OrganizationServiceStub

New = task_pb2.NewComputeTask
Inputs = dict[str, function_pb2.FunctionInput]
HEADERS = (("mspid", "bench"), ("channel", "bench"))
PUBLIC = NewPermissions(public=True)
SHARED = {"shared": function_pb2.FunctionInput(kind=ASSET_MODEL, optional=True, multiple=True)}
DATA = {
    "opener": function_pb2.FunctionInput(kind=ASSET_DATA_MANAGER),
    "samples": function_pb2.FunctionInput(kind=ASSET_DATA_SAMPLE, multiple=True),
}
AT_ONCE = 500  # tasks a call, as the SDK sends them
TRAINED = 10  # tasks of a federated round, before its aggregate


def _key() -> str:
    return str(uuid.uuid4())


def _address() -> Addressable:
    name = uuid.uuid4().hex
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Addressable(checksum=digest, storage_address=f"http://bench.test/{name}")


class Client:
    """One client with a connection of its own."""

    def __init__(self, address: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.insecure_channel(address, options=options)
        self.close = channel.close
        self.organizations = OrganizationServiceStub(channel)
        self.functions = FunctionServiceStub(channel)
        self.plans = ComputePlanServiceStub(channel)
        self.tasks = ComputeTaskServiceStub(channel)
        self.models = ModelServiceStub(channel)
        self.data = DataManagerServiceStub(channel)
        self.samples = DataSampleServiceStub(channel)
        self.events = EventServiceStub(channel)

    def plan(self) -> str:
        key = _key()
        self.plans.RegisterPlan(plan_pb2.NewComputePlan(key=key, name="bench"), metadata=HEADERS)
        return key

    def function(self, inputs: Inputs | None = None) -> str:
        new = function_pb2.NewFunction(
            key=_key(),
            name="bench",
            description=_address(),
            archive=_address(),
            new_permissions=PUBLIC,
            inputs=SHARED | (inputs or {}),
            outputs={"model": function_pb2.FunctionOutput(kind=ASSET_MODEL)},
        )
        self.functions.RegisterFunction(new, metadata=HEADERS)
        return new.key

    def build(self, function: str, action: "function_pb2.FunctionAction.ValueType") -> None:
        param = function_pb2.ApplyFunctionActionParam(function_key=function, action=action)
        self.functions.ApplyFunctionAction(param, metadata=HEADERS)

    def ready_function(self, inputs: Inputs | None = None) -> str:
        function = self.function(inputs)
        self.build(function, function_pb2.FUNCTION_ACTION_BUILDING)
        self.build(function, function_pb2.FUNCTION_ACTION_READY)
        return function

    def register(self, *tasks: task_pb2.NewComputeTask) -> None:
        self.tasks.RegisterTasks(task_pb2.RegisterTasksParam(tasks=tasks), metadata=HEADERS)

    def act(self, task: str, action: "task_pb2.ComputeTaskAction.ValueType") -> None:
        param = task_pb2.ApplyTaskActionParam(compute_task_key=task, action=action)
        self.tasks.ApplyTaskAction(param, metadata=HEADERS)

    def model(self, task: str) -> None:
        new = NewModel(
            key=_key(),
            compute_task_key=task,
            compute_task_output_identifier="model",
            address=_address(),
        )
        self.models.RegisterModels(RegisterModelsParam(models=[new]), metadata=HEADERS)

    def data_inputs(self, number: int) -> list[task_pb2.ComputeTaskInput]:
        """A data manager with so many samples, as inputs."""
        manager = NewDataManager(
            key=_key(),
            name="bench",
            description=_address(),
            opener=_address(),
            new_permissions=PUBLIC,
            logs_permission=PUBLIC,
        )
        self.data.RegisterDataManager(manager, metadata=HEADERS)
        samples = [
            NewDataSample(key=_key(), data_manager_keys=[manager.key], checksum=_address().checksum)
            for _ in range(number)
        ]
        param = RegisterDataSamplesParam(samples=samples)
        self.samples.RegisterDataSamples(param, metadata=HEADERS)
        keys = [("opener", manager.key), *(("samples", sample.key) for sample in samples)]
        return [task_pb2.ComputeTaskInput(identifier=name, asset_key=key) for name, key in keys]

    def follow(self, after: str = "") -> "grpc.CallIterator[event_pb2.Event]":
        """The event stream."""
        param = event_pb2.SubscribeToEventsParam(start_event_id=after)
        return self.events.SubscribeToEvents(param, metadata=HEADERS)


def task(plan: str, function: str, *parents: str) -> New:
    new = New(
        key=_key(),
        function_key=function,
        compute_plan_key=plan,
        worker="bench",
        outputs={"model": task_pb2.NewComputeTaskOutput(permissions=PUBLIC)},
    )
    for parent in parents:
        reference = task_pb2.ParentTaskOutputRef(parent_task_key=parent, output_identifier="model")
        new.inputs.add(identifier="shared", parent_task_output=reference)
    return new


# ------------------------------------------------------------------ shapes of plans
def chain(plan: str, function: str, number: int) -> list[New]:
    """Each task takes the model of the one before."""
    tasks: list[New] = []
    for _ in range(number):
        tasks.append(task(plan, function, *(tasks[-1].key,) if tasks else ()))
    return tasks


def federated(
    plan: str,
    functions: tuple[str, str],
    number: int,
    data: Sequence[task_pb2.ComputeTaskInput] = (),
) -> list[New]:
    """Rounds of training tasks and one aggregate, which the next round starts from."""
    train, aggregate = functions
    tasks: list[New] = []
    last: tuple[str, ...] = ()
    while len(tasks) < number:
        trained = [task(plan, train, *last) for _ in range(TRAINED)]
        for one in trained:
            one.inputs.extend(data)
        tasks += [*trained, task(plan, aggregate, *(one.key for one in trained))]
        last = (tasks[-1].key,)
    return tasks[:number]


def batches(tasks: Sequence[New]) -> Iterator[Sequence[New]]:
    for start in range(0, len(tasks), AT_ONCE):
        yield tasks[start : start + AT_ONCE]
