"""The emission matrix (orchestrator.md 16) and what every event holds (9.1), from a real ledger's stream."""

from collections.abc import Callable
from itertools import takewhile
from typing import Any

from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import event_pb2 as e
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
from protos.orchestrator.organization_pb2 import RegisterOrganizationParam
from protos.orchestrator.performance_pb2 import NewPerformance
from protos.orchestrator.profiling_pb2 import ProfilingStep
from tests.integration.orchestrator.member import Member, line
from tests.unit.orchestrator import requests as r

USER = {"reason": "User action"}
Told = list[tuple[str, str, dict[str, str]]]
"""(what, asset key, metadata) of each event, in order."""
Case = Callable[[Member], tuple[str, Any, Told]]


def _told(event: e.Event) -> tuple[str, str, dict[str, str]]:
    return line(event), event.asset_key, dict(event.metadata)


def _task(a: Member, *actions: Any, transient: bool = False, **function: Any) -> str:
    outputs = {
        name: r.new_output(transient=transient) for name in function.get("outputs", ["model"])
    }
    task = r.new_task(a.plan(), a.function(**function), worker="a", outputs=outputs)
    a.register(task)
    a.act(task.key, *actions)
    return task.key


def _created(rpc: str, kind: str, new: Any) -> tuple[str, Any, Told]:
    return rpc, new, [(f"{kind} CREATED", new.key, {})]


def register_function(a: Member) -> tuple[str, Any, Told]:
    return _created("FunctionService/RegisterFunction", "function", r.new_function())


def update_function(a: Member) -> tuple[str, Any, Told]:
    key = a.function(build=False)
    request = f.UpdateFunctionParam(key=key, name="function")  # nothing changes, and it is said
    return "FunctionService/UpdateFunction", request, [("function UPDATED", key, {})]


def _build(a: Member, action: Any, *before: Any, moved: str, reason: str) -> tuple[str, Any, Told]:
    plan, key = a.plan(), a.function(build=False)
    tasks = sorted(r.keys(a.register(*(r.new_task(plan, key, worker="a") for _ in range(2)))))
    a.build(key, *before)
    request = f.ApplyFunctionActionParam(function_key=key, action=action)
    told = [(f"compute_task UPDATED {moved}", task, {"reason": reason}) for task in tasks]
    return "FunctionService/ApplyFunctionAction", request, [("function UPDATED", key, USER), *told]


def function_building(a: Member) -> tuple[str, Any, Told]:
    return _build(a, f.FUNCTION_ACTION_BUILDING, moved="BUILDING", reason="User action")


def function_ready(a: Member) -> tuple[str, Any, Told]:
    rpc, request, told = _build(
        a,
        f.FUNCTION_ACTION_READY,
        f.FUNCTION_ACTION_BUILDING,
        moved="WAITING_FOR_EXECUTOR_SLOT",
        reason="",
    )
    reason = {"reason": f"Function {request.function_key} finished building"}
    return rpc, request, [told[0], *((what, key, reason) for what, key, _ in told[1:])]


def function_failed(a: Member) -> tuple[str, Any, Told]:
    before = f.FUNCTION_ACTION_BUILDING
    return _build(a, f.FUNCTION_ACTION_FAILED, before, moved="FAILED", reason="User action")


def function_canceled(a: Member) -> tuple[str, Any, Told]:
    before = f.FUNCTION_ACTION_BUILDING
    return _build(a, f.FUNCTION_ACTION_CANCELED, before, moved="CANCELED", reason="User action")


def register_data_manager(a: Member) -> tuple[str, Any, Told]:
    return _created("DataManagerService/RegisterDataManager", "data_manager", r.new_data_manager())


def _manager(a: Member) -> str:
    new = r.new_data_manager()
    a.call("DataManagerService/RegisterDataManager", new)
    return new.key


def update_data_manager(a: Member) -> tuple[str, Any, Told]:
    key = _manager(a)
    request = UpdateDataManagerParam(key=key, name="n")
    return "DataManagerService/UpdateDataManager", request, [("data_manager UPDATED", key, {})]


def register_data_samples(a: Member) -> tuple[str, Any, Told]:
    samples = [r.new_data_sample(_manager(a)) for _ in range(3)]
    request = RegisterDataSamplesParam(samples=samples)
    told: Told = [("data_sample CREATED", sample.key, {}) for sample in samples]
    return "DataSampleService/RegisterDataSamples", request, told


def update_data_samples(a: Member) -> tuple[str, Any, Told]:
    _, registered, _ = register_data_samples(a)
    a.call("DataSampleService/RegisterDataSamples", registered)
    keys = r.keys(reversed(registered.samples))
    request = UpdateDataSamplesParam(keys=keys, data_manager_keys=[_manager(a)])
    told: Told = [("data_sample UPDATED", key, {}) for key in keys]
    return "DataSampleService/UpdateDataSamples", request, told


def register_plan(a: Member) -> tuple[str, Any, Told]:
    return _created("ComputePlanService/RegisterPlan", "compute_plan", r.new_plan())


def update_plan(a: Member) -> tuple[str, Any, Told]:
    plan = a.plan()
    request = UpdateComputePlanParam(key=plan, name="n")
    return "ComputePlanService/UpdatePlan", request, [("compute_plan UPDATED", plan, {})]


def cancel_plan(a: Member) -> tuple[str, Any, Told]:
    """The plan's tasks are not touched."""
    plan = a.task(_task(a)).compute_plan_key
    request = ApplyPlanActionParam(key=plan, action=PLAN_ACTION_CANCELED)
    return "ComputePlanService/ApplyPlanAction", request, [("compute_plan UPDATED", plan, {})]


def register_tasks(a: Member) -> tuple[str, Any, Told]:
    plan, function = a.plan(), a.function()
    first = r.new_task(plan, function, worker="a")
    second = r.new_task(plan, function, r.parent(first.key), worker="a")
    told: Told = [
        ("compute_task CREATED WAITING_FOR_EXECUTOR_SLOT", first.key, {}),
        ("compute_task CREATED WAITING_FOR_PARENT_TASKS", second.key, {}),
    ]
    return "ComputeTaskService/RegisterTasks", t.RegisterTasksParam(tasks=[second, first]), told


def _act(a: Member, action: Any, *before: Any, status: str) -> tuple[str, Any, Told]:
    key = _task(a, *before)
    request = t.ApplyTaskActionParam(compute_task_key=key, action=action, log="because")
    told: Told = [(f"compute_task UPDATED {status}", key, {"reason": "because"})]
    return "ComputeTaskService/ApplyTaskAction", request, told


def task_executing(a: Member) -> tuple[str, Any, Told]:
    return _act(a, t.TASK_ACTION_EXECUTING, status="EXECUTING")


def task_done(a: Member) -> tuple[str, Any, Told]:
    """The child whose last parent it is becomes ready; the one that waits for another does not."""
    rpc, request, told = _act(a, t.TASK_ACTION_DONE, t.TASK_ACTION_EXECUTING, status="DONE")
    parent = a.task(request.compute_task_key)
    of = (parent.compute_plan_key, parent.function_key)
    ready = r.new_task(*of, r.parent(parent.key), worker="a")
    waiting = r.new_task(*of, r.parent(parent.key), r.parent(ready.key), worker="a")
    a.register(ready, waiting)
    reason = {"reason": f"Last parent task {parent.key} done"}
    released = ("compute_task UPDATED WAITING_FOR_EXECUTOR_SLOT", ready.key, reason)
    return rpc, request, [*told, released]


def task_failed(a: Member) -> tuple[str, Any, Told]:
    """No event tells that its plan failed."""
    return _act(a, t.TASK_ACTION_FAILED, status="FAILED")


def task_canceled(a: Member) -> tuple[str, Any, Told]:
    return _act(a, t.TASK_ACTION_CANCELED, status="CANCELED")


def register_models(a: Member) -> tuple[str, Any, Told]:
    task = _task(a, t.TASK_ACTION_EXECUTING)
    model = r.new_model(task)
    told: Told = [
        ("model CREATED", model.key, {}),
        ("compute_task_output_asset CREATED", task, {}),
    ]
    return "ModelService/RegisterModels", RegisterModelsParam(models=[model]), told


def register_performance(a: Member) -> tuple[str, Any, Told]:
    outputs = {"p": f.FunctionOutput(kind=ASSET_PERFORMANCE)}
    task = _task(a, t.TASK_ACTION_EXECUTING, outputs=outputs)
    request = NewPerformance(
        compute_task_key=task, compute_task_output_identifier="p", performance_value=0.5
    )
    told: Told = [
        ("performance CREATED", f"{task}|p", {}),
        ("compute_task_output_asset CREATED", task, {}),
    ]
    return "PerformanceService/RegisterPerformance", request, told


def disable_output(a: Member) -> tuple[str, Any, Told]:
    task = _task(a, t.TASK_ACTION_EXECUTING, transient=True)
    model = a.model(task)
    stored = a.task(task)
    child = r.new_task(stored.compute_plan_key, stored.function_key, r.parent(task), worker="a")
    a.register(child)
    a.act(task, t.TASK_ACTION_DONE)
    a.act(child.key, t.TASK_ACTION_CANCELED)
    request = t.DisableOutputParam(compute_task_key=task, identifier="model")
    return "ComputeTaskService/DisableOutput", request, [("model DISABLED", model, {})]


def _report(key: str, kind: Any) -> Any:
    return fr.NewFailureReport(asset_key=key, asset_type=kind, error_type=fr.ERROR_TYPE_INTERNAL)


def report_on_a_task(a: Member) -> tuple[str, Any, Told]:
    key = _task(a, t.TASK_ACTION_EXECUTING)
    told: Told = [
        ("compute_task UPDATED FAILED", key, {"reason": "failure report registered"}),
        ("failure_report CREATED", key, {}),
    ]
    request = _report(key, fr.FAILED_ASSET_COMPUTE_TASK)
    return "FailureReportService/RegisterFailureReport", request, told


def report_on_a_function(a: Member) -> tuple[str, Any, Told]:
    _, action, told = function_failed(a)
    key = action.function_key
    reason = {"reason": "failure report registered"}
    told = [(what, asset, reason) for what, asset, _ in told]
    request = _report(key, fr.FAILED_ASSET_FUNCTION)
    rpc = "FailureReportService/RegisterFailureReport"
    return rpc, request, [*told, ("failure_report CREATED", key, {})]


def register_profiling_step(a: Member) -> tuple[str, Any, Told]:
    step = ProfilingStep(asset_key=r.key(), step="build_image", duration=2**32 - 1)
    told: Told = [("profiling_step CREATED", step.asset_key, {})]
    return "ProfilingService/RegisterProfilingStep", step, told


CASES: list[Case] = [
    register_function,
    update_function,
    function_building,
    function_ready,
    function_failed,
    function_canceled,
    register_data_manager,
    update_data_manager,
    register_data_samples,
    update_data_samples,
    register_plan,
    update_plan,
    cancel_plan,
    register_tasks,
    task_executing,
    task_done,
    task_failed,
    task_canceled,
    register_models,
    register_performance,
    disable_output,
    report_on_a_task,
    report_on_a_function,
    register_profiling_step,
]


def test_every_call_tells_exactly_what_the_matrix_says(a: Member) -> None:
    """All cases on one ledger: the stream after each call, then in pages, then replayed."""
    pushed: list[e.Event] = []
    for case in CASES:
        rpc, request, expected = case(a)
        last = _last(a)
        stream = a.subscribe(last)
        a.call(rpc, request)
        end = a.plan()  # whatever came before it belongs to the call
        told = list(takewhile(lambda event, end=end: event.asset_key != end, stream))  # type: ignore[misc]
        stream.cancel()
        found = [_told(event) for event in told]
        assert [found[0], *sorted(found[1:])] == [expected[0], *sorted(expected[1:])], case.__name__
        assert found[-1][0] == expected[-1][0], case.__name__
        _check_fields(told)
        pushed += told
    ids = {event.id for event in pushed}
    assert [event for event in _pages(a) if event.id in ids] == pushed


def _last(a: Member) -> str:
    param = e.QueryEventsParam(page_size=1, sort=2)  # type: ignore[arg-type]  # descending
    return str(a.call("EventService/QueryEvents", param).events[0].id)


def _pages(a: Member) -> list[e.Event]:
    found: list[e.Event] = []
    token = ""
    while True:
        answer = a.call("EventService/QueryEvents", e.QueryEventsParam(page_token=token))
        found += answer.events
        token = answer.next_page_token
        if not token:
            return found


def _check_fields(told: list[e.Event]) -> None:
    """One date a call; in a cascade tasks come without inputs and outputs, and with all else."""
    assert len({event.timestamp.ToNanoseconds() for event in told}) == 1
    for number, event in enumerate(told):
        assert event.channel == "mychannel"
        if event.HasField("compute_task"):
            cascaded = number > 0 and event.event_kind == e.EVENT_ASSET_UPDATED
            assert bool(event.compute_task.outputs) is not cascaded
            assert event.compute_task.worker == event.compute_task.owner == "a"
        if event.event_kind == e.EVENT_ASSET_DISABLED:
            assert not event.model.HasField("address")


def test_an_organization_is_told_too(a: Member) -> None:
    (first, second) = a.events(2)
    assert [_told(event) for event in (first, second)] == [
        ("organization CREATED", "b", {}),
        ("organization CREATED", "a", {}),
    ]
    assert (
        second.organization.address
        == RegisterOrganizationParam(address="http://a.test/org").address
    )
