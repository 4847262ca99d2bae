"""Registration through the wire and the tables: all or none, keys and addresses unique over all channels."""

import grpc
import pytest

from orchestrator.server import Server
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import datasample_pb2 as ds
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.common_pb2 import NewPermissions
from protos.orchestrator.organization_pb2 import GetAllOrganizationsParam
from tests.integration.orchestrator.member import Member, lines
from tests.unit.orchestrator import requests as r


def test_batch_of_a_thousand_tasks_comes_back_in_topological_order(a: Member) -> None:
    plan, function = a.plan(), a.function()
    tasks = [r.new_task(plan, function, worker="b")]
    for _ in range(999):
        tasks.append(r.new_task(plan, function, r.parent(tasks[-1].key), worker="b"))
    answer = a.register(*reversed(tasks))
    assert r.keys(answer) == r.keys(tasks)
    assert [task.rank for task in answer] == list(range(1000))
    assert {task.status for task in answer[1:]} == {t.STATUS_WAITING_FOR_PARENT_TASKS}


def test_refused_batch_leaves_nothing_behind(a: Member) -> None:
    plan, function = a.plan(), a.function()
    good = r.new_task(plan, function, worker="a")
    with pytest.raises(grpc.RpcError) as refusal:
        a.register(good, r.new_task(plan, function, worker="stranger"))
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError, match="OE0002"):
        a.task(good.key)


def test_repeated_key_is_a_conflict_in_the_own_and_in_any_other_channel(
    a: Member, server: Server
) -> None:
    plan = r.new_plan()
    a.call("ComputePlanService/RegisterPlan", plan)
    with Member(server.address, "a", "yourchannel") as other:
        other.join()
        for member in (a, other):
            with pytest.raises(grpc.RpcError) as refusal:
                member.call("ComputePlanService/RegisterPlan", plan)
            assert refusal.value.code() is grpc.StatusCode.ALREADY_EXISTS
            assert (
                refusal.value.details()
                == f'OE0006: computeplan with key "{plan.key}" already exists'
            )


def test_a_repeated_key_is_told_before_what_is_wrong_further_on(a: Member) -> None:
    function = r.new_function()
    a.call("FunctionService/RegisterFunction", function)
    function.new_permissions.CopyFrom(NewPermissions(authorized_ids=["stranger"]))
    with pytest.raises(grpc.RpcError, match=f'OE0006: function with key "{function.key}"'):
        a.call("FunctionService/RegisterFunction", function)


def test_what_was_refused_by_the_tables_is_forgotten(a: Member) -> None:
    plan, function = a.plan(), a.function()
    first, second = (r.new_task(plan, function, worker="a") for _ in range(2))
    for task in (first, second):
        a.register(task)
        a.act(task.key, t.TASK_ACTION_EXECUTING)
    model = r.new_model(first.key)
    a.call("ModelService/RegisterModel", model)
    other = r.new_model(second.key)
    other.key = model.key
    for told in (model, other):
        with pytest.raises(grpc.RpcError, match="OE0006"):
            a.call("ModelService/RegisterModel", told)
    a.call("ModelService/RegisterModel", r.new_model(second.key))
    a.act(second.key, t.TASK_ACTION_DONE)
    assert a.task(second.key).status == t.STATUS_DONE


def test_storage_address_is_taken_over_all_channels(a: Member, server: Server) -> None:
    first, second, third = r.new_function(), r.new_function(), r.new_function()
    second.archive.storage_address = first.archive.storage_address
    third.archive.CopyFrom(third.description)
    a.call("FunctionService/RegisterFunction", first)
    with Member(server.address, "a", "yourchannel") as other:
        other.join()
        for new in (second, third):
            with pytest.raises(grpc.RpcError) as refusal:
                other.call("FunctionService/RegisterFunction", new)
            assert refusal.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_image_address_may_be_sent_again(a: Member) -> None:
    image = r.address()
    for function in (a.function(), a.function()):
        a.call(
            "FunctionService/UpdateFunction",
            f.UpdateFunctionParam(key=function, name="renamed", image=image),
        )
        stored = a.call("FunctionService/GetFunction", f.GetFunctionParam(key=function))
        assert (stored.name, stored.image) == ("renamed", image)


def test_other_channels_do_not_see_an_asset(a: Member, server: Server) -> None:
    function = a.function()
    with (
        Member(server.address, "a", "yourchannel") as other,
        pytest.raises(grpc.RpcError, match="OE0002"),
    ):
        other.call("FunctionService/GetFunction", f.GetFunctionParam(key=function))


def test_unregistered_member_reads_but_does_not_own(a: Member, server: Server) -> None:
    with Member(server.address, "c") as unregistered:
        found = unregistered.call(
            "OrganizationService/GetAllOrganizations", GetAllOrganizationsParam()
        )
        assert [one.id for one in found.organizations] == ["a", "b"]
        with pytest.raises(grpc.RpcError) as refusal:
            unregistered.plan()
        assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_organization_registers_once_a_channel(a: Member, server: Server) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        a.join()
    assert refusal.value.code() is grpc.StatusCode.ALREADY_EXISTS
    with Member(server.address, "a", "yourchannel") as other:
        assert other.join() is other


def test_samples_are_linked_in_the_order_given_and_only_added_to(a: Member) -> None:
    managers = [r.new_data_manager() for _ in range(3)]
    for manager in managers:
        a.call("DataManagerService/RegisterDataManager", manager)
    one, two, three = r.keys(managers)
    samples = [r.new_data_sample(two, one), r.new_data_sample()]
    param = ds.RegisterDataSamplesParam(samples=samples)
    answer = a.call("DataSampleService/RegisterDataSamples", param)
    assert [list(s.data_manager_keys) for s in answer.data_samples] == [[two, one], []]
    update = ds.UpdateDataSamplesParam(keys=r.keys(samples), data_manager_keys=[one, three])
    a.call("DataSampleService/UpdateDataSamples", update)
    stored = [
        a.call("DataSampleService/GetDataSample", ds.GetDataSampleParam(key=s.key)) for s in samples
    ]
    assert [list(s.data_manager_keys) for s in stored] == [[two, one, three], [one, three]]


def test_empty_list_of_samples_is_answered_with_an_empty_list(a: Member) -> None:
    answer = a.call("DataSampleService/RegisterDataSamples", ds.RegisterDataSamplesParam())
    assert list(answer.data_samples) == []


def test_one_life_of_a_plan_over_two_organizations_tells_every_event_in_order(
    a: Member, b: Member
) -> None:
    start = a.events(2)[-1].id
    plan, function = a.plan(), a.function(build=False)
    first = r.new_task(plan, function, worker="b")
    second = r.new_task(plan, function, r.parent(first.key), worker="a")
    a.register(first)
    a.register(second)
    a.build(function, f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)
    b.act(first.key, t.TASK_ACTION_EXECUTING)
    b.model(first.key)
    b.act(first.key, t.TASK_ACTION_DONE)
    assert lines(a.events(15, start)) == [
        "compute_plan CREATED",
        "function CREATED",
        "compute_task CREATED WAITING_FOR_BUILDER_SLOT",
        "compute_task CREATED WAITING_FOR_BUILDER_SLOT",
        "function UPDATED",
        "compute_task UPDATED BUILDING",
        "compute_task UPDATED BUILDING",
        "function UPDATED",
        "compute_task UPDATED WAITING_FOR_EXECUTOR_SLOT",
        "compute_task UPDATED WAITING_FOR_PARENT_TASKS",
        "compute_task UPDATED EXECUTING",
        "model CREATED",
        "compute_task_output_asset CREATED",
        "compute_task UPDATED DONE",
        "compute_task UPDATED WAITING_FOR_EXECUTOR_SLOT",
    ]
