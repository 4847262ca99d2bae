"""Gets and queries: pages, filters, inputs of a task, plans that run (orchestrator.md 3, 6, 7.3)."""

from typing import Any

import grpc
import pytest

from protos.orchestrator import computeplan_pb2 as p
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import datamanager_pb2 as dm
from protos.orchestrator import datasample_pb2 as ds
from protos.orchestrator import failure_report_pb2 as fr
from protos.orchestrator import function_pb2 as f
from protos.orchestrator import model_pb2 as m
from protos.orchestrator import performance_pb2 as pf
from protos.orchestrator.common_pb2 import ASSET_MODEL, ASSET_PERFORMANCE
from protos.orchestrator.dataset_pb2 import GetDatasetParam
from protos.orchestrator.info_pb2 import QueryVersionParam
from tests.integration.orchestrator.member import Member
from tests.unit.orchestrator import requests as r


def _pages(a: Member, rpc: str, param: type[Any], field: str, **fields: Any) -> list[Any]:
    """Every element, two a page."""
    found: list[Any] = []
    token = ""
    while True:
        page = a.call(rpc, param(page_size=2, page_token=token, **fields))
        found += getattr(page, field)
        token = page.next_page_token
        if not token:
            return found
        assert len(getattr(page, field)) == 2


def _data(a: Member, samples: int) -> tuple[str, list[str]]:
    manager = r.new_data_manager()
    a.call("DataManagerService/RegisterDataManager", manager)
    new = [r.new_data_sample(manager.key) for _ in range(samples)]
    a.call("DataSampleService/RegisterDataSamples", ds.RegisterDataSamplesParam(samples=new))
    return manager.key, r.keys(new)


def test_pages_go_through_everything_by_creation_then_key(a: Member) -> None:
    plans = [a.plan() for _ in range(5)]
    function = a.function()
    tasks = a.register(*(r.new_task(plans[0], function, worker="a") for _ in range(5)))
    plan_pages = _pages(a, "ComputePlanService/QueryPlans", p.QueryPlansParam, "plans")
    task_pages = _pages(a, "ComputeTaskService/QueryTasks", t.QueryTasksParam, "tasks")
    assert r.keys(plan_pages) == plans
    assert r.keys(task_pages) == sorted(r.keys(tasks))  # one transaction, one date


def test_functions_of_a_plan(a: Member) -> None:
    plan, used, unused = a.plan(), a.function(), a.function()
    a.register(r.new_task(plan, used, worker="a"))
    rpc, param = "FunctionService/QueryFunctions", f.QueryFunctionsParam
    of_plan = f.FunctionQueryFilter(compute_plan_key=plan)
    assert r.keys(_pages(a, rpc, param, "Functions", filter=of_plan)) == [used]
    assert r.keys(_pages(a, rpc, param, "Functions")) == [used, unused]


def test_tasks_are_filtered_by_everything_that_is_given(a: Member) -> None:
    plan, other, function = a.plan(), a.plan(), a.function()
    one = r.new_task(plan, function, worker="a")
    two = r.new_task(plan, function, worker="b")
    three = r.new_task(other, function, worker="a")
    a.register(one, two)
    a.register(three)
    a.act(one.key, t.TASK_ACTION_EXECUTING)
    cases = [
        (t.TaskQueryFilter(compute_plan_key=plan), {one.key, two.key}),
        (t.TaskQueryFilter(worker="a"), {one.key, three.key}),
        (t.TaskQueryFilter(worker="a", status=t.STATUS_EXECUTING), {one.key}),
        (t.TaskQueryFilter(function_key=r.key()), set()),
    ]
    for given, expected in cases:
        answer = a.call("ComputeTaskService/QueryTasks", t.QueryTasksParam(filter=given))
        assert set(r.keys(answer.tasks)) == expected


def test_plans_of_an_owner_and_samples_by_key(a: Member, b: Member) -> None:
    mine, theirs = a.plan(), b.plan()
    answer = a.call(
        "ComputePlanService/QueryPlans", p.QueryPlansParam(filter=p.PlanQueryFilter(owner="b"))
    )
    assert r.keys(answer.plans) == [theirs]
    assert mine != theirs
    _, samples = _data(a, 3)
    chosen = ds.DataSampleQueryFilter(keys=samples[1:])
    found = a.call("DataSampleService/QueryDataSamples", ds.QueryDataSamplesParam(filter=chosen))
    assert set(r.keys(found.data_samples)) == set(samples[1:])


def test_dataset_is_a_manager_with_the_keys_of_its_samples(a: Member) -> None:
    manager, samples = _data(a, 3)
    dataset = a.call("DatasetService/GetDataset", GetDatasetParam(key=manager))
    assert dataset.data_manager.key == manager
    assert list(dataset.data_sample_keys) == sorted(samples)
    listed = a.call("DataManagerService/QueryDataManagers", dm.QueryDataManagersParam())
    assert list(listed.data_managers) == [dataset.data_manager]


UNKNOWN_KEYS: list[tuple[str, Any, str, str]] = [
    ("FunctionService/GetFunction", f.GetFunctionParam, "key", "function"),
    ("DataManagerService/GetDataManager", dm.GetDataManagerParam, "key", "datamanager"),
    ("DataSampleService/GetDataSample", ds.GetDataSampleParam, "key", "datasample"),
    ("DatasetService/GetDataset", GetDatasetParam, "key", "datamanager"),
    ("ComputePlanService/GetPlan", p.GetComputePlanParam, "key", "computeplan"),
    ("ComputePlanService/IsPlanRunning", p.IsPlanRunningParam, "key", "computeplan"),
    ("ComputeTaskService/GetTask", t.GetTaskParam, "key", "computetask"),
    (
        "ComputeTaskService/GetTaskInputAssets",
        t.GetTaskInputAssetsParam,
        "compute_task_key",
        "computetask",
    ),
    ("ModelService/GetModel", m.GetModelParam, "key", "model"),
    (
        "FailureReportService/GetFailureReport",
        fr.GetFailureReportParam,
        "asset_key",
        "failure report",
    ),
]


@pytest.mark.parametrize(("rpc", "param", "field", "resource"), UNKNOWN_KEYS)
def test_unknown_and_impossible_keys(
    a: Member, rpc: str, param: Any, field: str, resource: str
) -> None:
    key = r.key()
    with pytest.raises(grpc.RpcError) as refusal:
        a.call(rpc, param(**{field: key}))
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    assert refusal.value.details() == f'OE0002: {resource} with key "{key}" not found'
    with pytest.raises(grpc.RpcError) as refusal:
        a.call(rpc, param(**{field: "x\x00"}))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("token", ["x", "1", "-1~a", "99999999999999999~" + "0" * 36, "1~x\x00"])
def test_page_token_of_somebody_else_is_refused(a: Member, token: str) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        a.call("ComputeTaskService/QueryTasks", t.QueryTasksParam(page_token=token))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_large_page_stays_below_what_clients_accept(a: Member) -> None:
    plan, function = a.plan(), a.function()
    metadata = {f"{n:03}{'k' * 97}": "v" * 100 for n in range(50)}
    tasks = [r.new_task(plan, function, worker="a") for _ in range(500)]
    for task in tasks:
        task.metadata.update(metadata)
    a.register(*tasks)
    page = a.call("ComputeTaskService/QueryTasks", t.QueryTasksParam(page_size=5_000))
    assert 0 < page.ByteSize() < 4 * 1024 * 1024
    assert page.next_page_token
    following = t.QueryTasksParam(page_size=5_000, page_token=page.next_page_token)
    rest = a.call("ComputeTaskService/QueryTasks", following)
    assert len(page.tasks) + len(rest.tasks) == 500


def test_inputs_come_in_the_order_of_the_task(a: Member) -> None:
    manager, samples = _data(a, 2)
    plan = a.plan()
    many = {"model": f.FunctionOutput(kind=ASSET_MODEL, multiple=True)}
    first = r.new_task(plan, a.function(outputs=many), worker="a")
    empty = r.new_task(plan, a.function(outputs=many), worker="a")
    data = [
        r.asset("samples", samples[1]),
        r.asset("opener", manager),
        r.asset("samples", samples[0]),
    ]
    train = a.function(inputs=r.TRAIN_INPUTS)
    second = r.new_task(plan, train, *data, r.parent(first.key), r.parent(empty.key))
    a.register(first, empty, second)
    rpc, param = "ComputeTaskService/GetTaskInputAssets", t.GetTaskInputAssetsParam
    with pytest.raises(grpc.RpcError, match=r"OE0003.*STATUS_WAITING_FOR_PARENT_TASKS"):
        a.call(rpc, param(compute_task_key=second.key))
    a.act(first.key, t.TASK_ACTION_EXECUTING)
    models = [a.model(first.key), a.model(first.key)]
    a.act(first.key, t.TASK_ACTION_DONE)
    a.act(empty.key, t.TASK_ACTION_EXECUTING, t.TASK_ACTION_DONE)
    found = a.call(rpc, param(compute_task_key=second.key)).assets
    keys = [getattr(one, one.WhichOneof("asset")).key for one in found]
    assert keys == [samples[1], manager, samples[0], *models]
    assert [one.identifier for one in found] == ["samples", "opener", "samples", "shared", "shared"]
    listed = a.call(
        "ModelService/GetComputeTaskOutputModels",
        m.GetComputeTaskModelsParam(compute_task_key=first.key),
    )
    assert r.keys(listed.models) == models


def test_performances_by_task_and_identifier(a: Member) -> None:
    outputs = {name: f.FunctionOutput(kind=ASSET_PERFORMANCE) for name in ("x", "y")}
    plan, function = a.plan(), a.function(outputs=outputs)
    given = {name: r.new_output() for name in outputs}
    tasks = [r.new_task(plan, function, worker="a", outputs=given) for _ in range(2)]
    a.register(*tasks)
    for task in tasks:
        a.act(task.key, t.TASK_ACTION_EXECUTING)
        for name in outputs:
            new = pf.NewPerformance(
                compute_task_key=task.key,
                compute_task_output_identifier=name,
                performance_value=0.25,
            )
            a.call("PerformanceService/RegisterPerformance", new)
    rpc, param = "PerformanceService/QueryPerformances", pf.QueryPerformancesParam
    found = _pages(a, rpc, param, "Performances")
    expected = [(task.key, name) for task in tasks for name in outputs]
    assert [(one.compute_task_key, one.compute_task_output_identifier) for one in found] == expected
    one = pf.PerformanceQueryFilter(
        compute_task_key=tasks[1].key, compute_task_output_identifier="y"
    )
    assert len(_pages(a, rpc, param, "Performances", filter=one)) == 1


def _running(a: Member, plan: str) -> bool:
    param = p.IsPlanRunningParam(key=plan)
    return bool(a.call("ComputePlanService/IsPlanRunning", param).is_running)


def test_plan_runs_while_it_has_open_tasks_and_none_failed_or_canceled(a: Member) -> None:
    plan, function = a.plan(), a.function()
    tasks = [r.new_task(plan, function, worker="a") for _ in range(3)]
    assert not _running(a, plan)
    a.register(*tasks)
    assert _running(a, plan)
    a.act(tasks[0].key, t.TASK_ACTION_EXECUTING, t.TASK_ACTION_DONE)
    assert _running(a, plan)
    a.act(tasks[1].key, t.TASK_ACTION_CANCELED)
    assert not _running(a, plan)


def test_plan_stops_running_when_it_is_canceled_or_all_is_done(a: Member) -> None:
    plan, done, function = a.plan(), a.plan(), a.function()
    only = r.new_task(done, function, worker="a")
    a.register(r.new_task(plan, function, worker="a"), only)
    a.act(only.key, t.TASK_ACTION_EXECUTING, t.TASK_ACTION_DONE)
    cancel = p.ApplyPlanActionParam(key=plan, action=p.PLAN_ACTION_CANCELED)
    a.call("ComputePlanService/ApplyPlanAction", cancel)
    assert (_running(a, plan), _running(a, done)) == (False, False)


def test_failure_report_can_be_read_back(a: Member) -> None:
    task = r.new_task(a.plan(), a.function(), worker="a")
    a.register(task)
    a.act(task.key, t.TASK_ACTION_EXECUTING)
    new = fr.NewFailureReport(
        asset_key=task.key,
        error_type=fr.ERROR_TYPE_EXECUTION,
        asset_type=fr.FAILED_ASSET_COMPUTE_TASK,
        logs_address=r.address(),
    )
    report = a.call("FailureReportService/RegisterFailureReport", new)
    param = fr.GetFailureReportParam(asset_key=task.key)
    assert a.call("FailureReportService/GetFailureReport", param) == report
    assert (report.owner, report.logs_address) == ("a", new.logs_address)


def test_version_needs_the_headers_and_gives_a_text(a: Member) -> None:
    assert a.call("InfoService/QueryVersion", QueryVersionParam()).orchestrator
