"""Who may call what (orchestrator.md 5.5), and who must be allowed to process what (5.3)."""

from collections.abc import Callable
from itertools import product

import pytest
from google.protobuf.message import Message

from orchestrator.errors import Denied
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import failure_report_pb2 as fr
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.common_pb2 import ASSET_PERFORMANCE
from protos.orchestrator.computeplan_pb2 import (
    PLAN_ACTION_CANCELED,
    ApplyPlanActionParam,
    UpdateComputePlanParam,
)
from protos.orchestrator.datamanager_pb2 import UpdateDataManagerParam
from protos.orchestrator.datasample_pb2 import RegisterDataSamplesParam, UpdateDataSamplesParam
from protos.orchestrator.model_pb2 import RegisterModelsParam
from protos.orchestrator.performance_pb2 import NewPerformance
from protos.orchestrator.profiling_pb2 import ProfilingStep
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import Channel

BUILT = (f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)
OWNER, WORKER, STRANGER = "a", "b", "c"
EVERYBODY = {OWNER, WORKER, STRANGER}


@pytest.fixture
def channel() -> Channel:
    return Channel(OWNER, WORKER, STRANGER)


def _task(channel: Channel, *actions: int, transient: bool = False) -> str:
    """A task of the owner at the worker."""
    outputs = {"model": r.new_output(transient=transient)}
    function = channel.function(*BUILT)
    (task,) = channel.register(r.new_task(channel.plan(), function, worker=WORKER, outputs=outputs))
    for action in actions:
        channel.act(task.key, action, by=WORKER)
    return task.key


def _performance(channel: Channel) -> Message:
    outputs = {"p": f.FunctionOutput(kind=ASSET_PERFORMANCE)}
    function = channel.function(*BUILT, outputs=outputs)
    new = r.new_task(channel.plan(), function, worker=WORKER, outputs={"p": r.new_output()})
    channel.register(new)
    channel.act(new.key, t.TASK_ACTION_EXECUTING, by=WORKER)
    return NewPerformance(compute_task_key=new.key, compute_task_output_identifier="p")


def _disabled(channel: Channel) -> Message:
    task = _task(channel, t.TASK_ACTION_EXECUTING, transient=True)
    models = RegisterModelsParam(models=[r.new_model(task)])
    channel.call("ModelService/RegisterModels", models, by=WORKER)
    stored = channel.known.tasks[task]
    channel.register(r.new_task(stored.plan, stored.function, r.parent(task), worker=WORKER))
    for key in (task, stored.children[0] if stored.children else ""):
        channel.act(key, t.TASK_ACTION_CANCELED)
    return t.DisableOutputParam(compute_task_key=task, identifier="model")


def _report(key: str, kind: int) -> Message:
    return fr.NewFailureReport(asset_key=key, asset_type=kind, error_type=fr.ERROR_TYPE_INTERNAL)  # type: ignore[arg-type]


def _action(action: int, *before: int) -> Callable[[Channel], Message]:
    return lambda ch: t.ApplyTaskActionParam(compute_task_key=_task(ch, *before), action=action)  # type: ignore[arg-type]


def _links(channel: Channel) -> Message:
    manager, sample = channel.data(by=OWNER)
    return UpdateDataSamplesParam(keys=[sample], data_manager_keys=[manager])


Row = tuple[str, Callable[[Channel], Message], set[str]]
TABLE: list[Row] = [
    (
        "FunctionService/UpdateFunction",
        lambda ch: f.UpdateFunctionParam(key=ch.function(), name="n"),
        {OWNER},
    ),
    (
        "FunctionService/ApplyFunctionAction",
        lambda ch: f.ApplyFunctionActionParam(
            function_key=ch.function(), action=f.FUNCTION_ACTION_BUILDING
        ),
        {OWNER},
    ),
    (
        "FailureReportService/RegisterFailureReport",
        lambda ch: _report(ch.function(f.FUNCTION_ACTION_BUILDING), fr.FAILED_ASSET_FUNCTION),
        {OWNER},
    ),
    (
        "DataManagerService/UpdateDataManager",
        lambda ch: UpdateDataManagerParam(key=ch.data(by=OWNER)[0], name="n"),
        {OWNER},
    ),
    (
        "DataSampleService/RegisterDataSamples",
        lambda ch: RegisterDataSamplesParam(samples=[r.new_data_sample(ch.data(by=OWNER)[0])]),
        {OWNER},
    ),
    ("DataSampleService/UpdateDataSamples", _links, {OWNER}),
    (
        "ComputeTaskService/RegisterTasks",
        lambda ch: t.RegisterTasksParam(
            tasks=[r.new_task(ch.plan(), ch.function(), worker=WORKER)]
        ),
        {OWNER},
    ),
    (
        "ComputePlanService/UpdatePlan",
        lambda ch: UpdateComputePlanParam(key=ch.plan(), name="n"),
        {OWNER},
    ),
    (
        "ComputePlanService/ApplyPlanAction",
        lambda ch: ApplyPlanActionParam(key=ch.plan(), action=PLAN_ACTION_CANCELED),
        {OWNER},
    ),
    ("ComputeTaskService/ApplyTaskAction", _action(t.TASK_ACTION_CANCELED), {OWNER, WORKER}),
    ("ComputeTaskService/ApplyTaskAction", _action(t.TASK_ACTION_FAILED), {OWNER, WORKER}),
    ("ComputeTaskService/ApplyTaskAction", _action(t.TASK_ACTION_EXECUTING), {WORKER}),
    (
        "ComputeTaskService/ApplyTaskAction",
        _action(t.TASK_ACTION_DONE, t.TASK_ACTION_EXECUTING),
        {WORKER},
    ),
    ("ComputeTaskService/ApplyTaskAction", _action(t.TASK_ACTION_BUILD_STARTED), set()),
    ("ComputeTaskService/ApplyTaskAction", _action(t.TASK_ACTION_BUILD_FINISHED), set()),
    ("ComputeTaskService/ApplyTaskAction", _action(t.TASK_ACTION_UNKNOWN), set()),
    (
        "ModelService/RegisterModels",
        lambda ch: RegisterModelsParam(models=[r.new_model(_task(ch, t.TASK_ACTION_EXECUTING))]),
        {WORKER},
    ),
    (
        "ModelService/RegisterModel",
        lambda ch: r.new_model(_task(ch, t.TASK_ACTION_EXECUTING)),
        {WORKER},
    ),
    ("PerformanceService/RegisterPerformance", _performance, {WORKER}),
    ("ComputeTaskService/DisableOutput", _disabled, {WORKER}),
    (
        "FailureReportService/RegisterFailureReport",
        lambda ch: _report(_task(ch, t.TASK_ACTION_EXECUTING), fr.FAILED_ASSET_COMPUTE_TASK),
        {WORKER},
    ),
    (
        "ProfilingService/RegisterProfilingStep",
        lambda ch: ProfilingStep(asset_key=r.key(), step="s", duration=1),
        EVERYBODY,
    ),
]
CASES = [(*row, caller) for row, caller in product(TABLE, sorted(EVERYBODY))]


@pytest.mark.parametrize(("rpc", "request_of", "callers", "caller"), CASES)
def test_only_the_callers_of_the_table_may(
    channel: Channel,
    rpc: str,
    request_of: Callable[[Channel], Message],
    callers: set[str],
    caller: str,
) -> None:
    request = request_of(channel)
    channel.told()
    if caller in callers:
        assert channel.call(rpc, request, by=caller) is not None
        assert channel.told()
    else:
        with pytest.raises(Denied, match="OE0102: "):
            channel.call(rpc, request, by=caller)
        assert channel.told() == []


# ------------------------------------------------------------------ 5.3
@pytest.mark.parametrize("allowed", [(), (OWNER,), (WORKER,), (OWNER, WORKER)])
def test_a_function_must_be_open_to_the_owner_and_an_output_to_the_worker(
    channel: Channel, allowed: tuple[str, ...]
) -> None:
    """All is another's: what it gives decides, for the owner of the task and for its worker apart."""
    closed = channel.function(*BUILT, by=STRANGER, permissions=r.private(*allowed))
    outputs = {"model": r.new_output(r.private(*allowed))}
    plan = channel.plan(by=STRANGER)
    open_function = channel.function(*BUILT, by=STRANGER)
    parent = r.new_task(plan, open_function, worker=STRANGER, outputs=outputs)
    channel.register(parent, by=STRANGER)
    own = channel.plan()
    with_function = r.new_task(own, closed, worker=WORKER)
    with_output = r.new_task(own, open_function, r.parent(parent.key), worker=WORKER)
    for task, deciding in ((with_function, OWNER), (with_output, WORKER)):
        if deciding in allowed:
            assert channel.register(task)
        else:
            with pytest.raises(Denied, match=f'"{deciding}" cannot process'):
                channel.register(task)
