"""Where the original dies, misbehaves or says UNKNOWN (orchestrator.md 2.7, 14.1), a definite answer."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from orchestrator.server import Server
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import event_pb2 as e
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.common_pb2 import ASSET_PERFORMANCE
from protos.orchestrator.computeplan_pb2 import (
    PLAN_ACTION_CANCELED,
    ApplyPlanActionParam,
    IsPlanRunningParam,
)
from protos.orchestrator.datasample_pb2 import (
    GetDataSampleParam,
    RegisterDataSamplesParam,
    UpdateDataSamplesParam,
)
from protos.orchestrator.model_pb2 import RegisterModelsParam
from protos.orchestrator.organization_pb2 import RegisterOrganizationParam
from protos.orchestrator.performance_pb2 import NewPerformance
from tests.integration.orchestrator.member import Member
from tests.unit.orchestrator import requests as r

INVALID, STATE, MISSING, EXISTS, DENIED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
)
Ask = Callable[[Member], tuple[str, Any]]


def _executing(a: Member, **function: Any) -> str:
    outputs = {name: r.new_output() for name in function.get("outputs", ["model"])}
    task = r.new_task(a.plan(), a.function(**function), worker="a", outputs=outputs)
    a.register(task)
    a.act(task.key, t.TASK_ACTION_EXECUTING)
    return task.key


def _canceled_plan(a: Member) -> tuple[str, Any]:
    param = ApplyPlanActionParam(key=a.plan(), action=PLAN_ACTION_CANCELED)
    a.call("ComputePlanService/ApplyPlanAction", param)
    return "ComputePlanService/ApplyPlanAction", param


def _twice_in_a_batch(a: Member) -> tuple[str, Any]:
    task = r.new_task(a.plan(), a.function(), worker="a")
    return "ComputeTaskService/RegisterTasks", t.RegisterTasksParam(tasks=[task, task])


def _manager_of_a_parent(a: Member) -> tuple[str, Any]:
    parent, train = _executing(a), a.function(inputs=r.TRAIN_INPUTS)
    given = [r.parent(parent, identifier="opener"), r.asset("samples", r.key())]
    task = r.new_task(a.plan(), train, *given, worker="a")
    return "ComputeTaskService/RegisterTasks", t.RegisterTasksParam(tasks=[task])


def _repeated_manager(a: Member) -> tuple[str, Any]:
    manager = r.new_data_manager()
    a.call("DataManagerService/RegisterDataManager", manager)
    samples = [r.new_data_sample(manager.key, manager.key)]
    return "DataSampleService/RegisterDataSamples", RegisterDataSamplesParam(samples=samples)


def _score(a: Member) -> tuple[str, Any]:
    request = NewPerformance(compute_task_key=_executing(a), compute_task_output_identifier="model")
    return "PerformanceService/RegisterPerformance", request


def _lasting_output(a: Member) -> tuple[str, Any]:
    key = _executing(a)
    return "ComputeTaskService/DisableOutput", t.DisableOutputParam(
        compute_task_key=key, identifier="model"
    )


def _page(rpc: str, param: Any) -> Ask:
    return lambda a: (rpc, param(page_token="x"))


REFUSALS: list[tuple[Ask, grpc.StatusCode, str]] = [
    (
        lambda a: ("ComputePlanService/IsPlanRunning", IsPlanRunningParam(key=r.key())),
        MISSING,
        "OE0002: computeplan",
    ),
    (
        lambda a: ("ComputePlanService/IsPlanRunning", IsPlanRunningParam(key="x")),
        INVALID,
        'computeplan: "x" is not a valid key',
    ),
    (lambda a: ("ModelService/RegisterModels", RegisterModelsParam()), STATE, "OE0003"),
    (_canceled_plan, STATE, "OE0109"),
    (_lasting_output, STATE, "OE0108"),
    (_twice_in_a_batch, EXISTS, "OE0006: computetask"),
    (_manager_of_a_parent, INVALID, "OE0101"),
    (_repeated_manager, INVALID, "OE0101: datasample is not valid: data_manager_keys"),
    (_score, INVALID, "OE0107"),
    (
        lambda a: (
            "OrganizationService/RegisterOrganization",
            RegisterOrganizationParam(address="no uri"),
        ),
        INVALID,
        "address: must be a valid request URI.",
    ),
    (
        lambda a: (
            "ComputeTaskService/ApplyTaskAction",
            t.ApplyTaskActionParam(compute_task_key=_executing(a), action=t.TASK_ACTION_EXECUTING),
        ),
        STATE,
        "event transitionExecuting inappropriate in current state STATUS_EXECUTING",
    ),
    (_page("EventService/QueryEvents", e.QueryEventsParam), INVALID, "invalid page token"),
    (_page("ComputeTaskService/QueryTasks", t.QueryTasksParam), INVALID, "invalid page token"),
    (_page("FunctionService/QueryFunctions", f.QueryFunctionsParam), INVALID, "invalid page"),
]


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_a_definite_refusal_has_a_definite_code(a: Member, number: int) -> None:
    ask, code, text = REFUSALS[number]
    rpc, request = ask(a)
    with pytest.raises(grpc.RpcError) as refusal:
        a.call(rpc, request)
    assert refusal.value.code() is code
    assert (refusal.value.details() or "").startswith(text)
    assert a.plan()  # and the process lives


def test_callers_of_no_channel_or_of_a_wrong_one_are_told_so(a: Member, server: Server) -> None:
    unknown, foreign = ("nobody", "mychannel"), ("b", "yourchannel")
    for organization, channel in (unknown, foreign):
        with Member(server.address, organization, channel) as stranger:
            with pytest.raises(grpc.RpcError) as refusal:
                stranger.plan()
            assert refusal.value.code() is DENIED


def _running(a: Member, plan: str) -> bool:
    answer = a.call("ComputePlanService/IsPlanRunning", IsPlanRunningParam(key=plan))
    return bool(answer.is_running)


@pytest.mark.parametrize("other", ["EXECUTING", "BUILDING", "DONE", None])
@pytest.mark.parametrize("end", ["CANCELED", "FAILED", "FAILED at birth", None])
def test_a_plan_with_a_failed_or_canceled_task_does_not_run(
    a: Member, end: str | None, other: str | None
) -> None:
    """Whatever the order of its rows (7.3)."""
    plan, function = a.plan(), a.function()
    if end == "FAILED at birth":
        broken = a.function(build=False)
        a.build(broken, f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_FAILED)
        a.register(r.new_task(plan, broken, worker="a"))
    elif end is not None:
        task = r.new_task(plan, function, worker="a")
        a.register(task)
        a.act(task.key, t.ComputeTaskAction.Value(f"TASK_ACTION_{end}"))
    if other == "BUILDING":
        built = a.function(build=False)
        a.build(built, f.FUNCTION_ACTION_BUILDING)
        a.register(r.new_task(plan, built, worker="a"))
    elif other is not None:
        task = r.new_task(plan, function, worker="a")
        a.register(task)
        done = [t.TASK_ACTION_DONE] if other == "DONE" else []
        a.act(task.key, t.TASK_ACTION_EXECUTING, *done)
    assert _running(a, plan) is (end is None and other in ("EXECUTING", "BUILDING"))


def test_a_sample_without_managers_can_be_linked_later(a: Member) -> None:
    sample, manager = r.new_data_sample(), r.new_data_manager()
    a.call("DataManagerService/RegisterDataManager", manager)
    a.call("DataSampleService/RegisterDataSamples", RegisterDataSamplesParam(samples=[sample]))
    stored = a.call("DataSampleService/GetDataSample", GetDataSampleParam(key=sample.key))
    assert list(stored.data_manager_keys) == []
    param = UpdateDataSamplesParam(keys=[sample.key], data_manager_keys=[manager.key])
    for _ in range(2):  # one that is linked already may be repeated
        a.call("DataSampleService/UpdateDataSamples", param)
    stored = a.call("DataSampleService/GetDataSample", GetDataSampleParam(key=sample.key))
    assert list(stored.data_manager_keys) == [manager.key]


def test_a_canceled_function_takes_its_waiting_tasks_along(a: Member) -> None:
    function = a.function(build=False)
    task = r.new_task(a.plan(), function, worker="a")
    a.register(task)
    a.build(function, f.FUNCTION_ACTION_CANCELED)
    assert a.task(task.key).status == t.STATUS_CANCELED


def test_long_names_of_outputs_and_functions_without_image_are_no_obstacle(a: Member) -> None:
    name = "p" * 100
    task = _executing(a, outputs={name: f.FunctionOutput(kind=ASSET_PERFORMANCE)})
    request = NewPerformance(compute_task_key=task, compute_task_output_identifier=name)
    assert a.call("PerformanceService/RegisterPerformance", request).performance_value == 0.0
    assert f"{task}|{name}" in {event.asset_key for event in a.events(10)}
    function = a.task(task).function_key
    a.call("FunctionService/UpdateFunction", f.UpdateFunctionParam(key=function, name="new"))
    stored = a.call("FunctionService/GetFunction", f.GetFunctionParam(key=function))
    assert (stored.name, stored.status) == ("new", f.FUNCTION_STATUS_READY)
