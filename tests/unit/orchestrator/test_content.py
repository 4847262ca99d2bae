"""What is answered, stored and told, field by field: nothing of a request is lost or mixed up."""

from datetime import UTC
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.errors import BadRequest, Conflict, Invalid, WrongOutputKind
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import failure_report_pb2 as fr
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.common_pb2 import (
    ASSET_COMPUTE_TASK_OUTPUT_ASSET,
    ASSET_MODEL,
    ASSET_PERFORMANCE,
    Addressable,
    Permission,
    Permissions,
)
from protos.orchestrator.computeplan_pb2 import ComputePlan, UpdateComputePlanParam
from protos.orchestrator.datamanager_pb2 import DataManager
from protos.orchestrator.datasample_pb2 import (
    DataSample,
    RegisterDataSamplesParam,
    UpdateDataSamplesParam,
)
from protos.orchestrator.event_pb2 import EVENT_ASSET_DISABLED
from protos.orchestrator.model_pb2 import Model, NewModel, RegisterModelsParam
from protos.orchestrator.performance_pb2 import NewPerformance, Performance
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import START, Channel

BUILT = (f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)
EVERYBODY = Permission(public=True, authorized_ids=["a"])
OPEN = Permissions(process=EVERYBODY, download=EVERYBODY)
MANY = {"model": f.FunctionOutput(kind=ASSET_MODEL, multiple=True)}


@pytest.fixture
def channel() -> Channel:
    return Channel("a", "b")


def _dated(message: Any) -> Timestamp:
    """The date of an asset, which is the call's own."""
    assert message.creation_date.ToDatetime(UTC) > START
    return message.creation_date  # type: ignore[no-any-return]


def _executing(channel: Channel, **fields: Any) -> str:
    """A task of the owner at "b"."""
    outputs = {"model": r.new_output(transient=True)}
    function = channel.function(*BUILT, **fields)
    (task,) = channel.register(r.new_task(channel.plan(), function, worker="b", outputs=outputs))
    channel.act(task.key, t.TASK_ACTION_EXECUTING, by="b")
    channel.told()
    return task.key


def _models(channel: Channel, *new: NewModel) -> Any:
    param = RegisterModelsParam(models=new)
    return channel.call("ModelService/RegisterModels", param, by="b").models


def _output(task: str, identifier: str, kind: Any, key: str) -> Message:
    return t.ComputeTaskOutputAsset(
        compute_task_key=task,
        compute_task_output_identifier=identifier,
        asset_kind=kind,
        asset_key=key,
    )


def test_a_function(channel: Channel) -> None:
    new = r.new_function(inputs=r.TRAIN_INPUTS, metadata={"a": "b"}, permissions=r.private("b"))
    answer = channel.call("FunctionService/RegisterFunction", new)
    both = Permission(authorized_ids=["b", "a"])
    expected = f.Function(
        key=new.key,
        name=new.name,
        description=new.description,
        archive=new.archive,
        permissions=Permissions(process=both, download=both),
        owner="a",
        creation_date=_dated(answer),
        metadata={"a": "b"},
        inputs=new.inputs,
        outputs=new.outputs,
        status=f.FUNCTION_STATUS_WAITING,
        image=Addressable(),
    )
    (told,) = channel.events
    assert answer == expected == channel.known.function(new.key) == told.payload
    again = r.new_function()
    again.archive.CopyFrom(new.description)
    with pytest.raises(Conflict, match="storage address"):
        channel.call("FunctionService/RegisterFunction", again)


def test_a_data_manager_and_a_sample(channel: Channel) -> None:
    new = r.new_data_manager(r.private("b"), metadata={"a": "b"}, type="ignored")
    answer = channel.call("DataManagerService/RegisterDataManager", new)
    both = Permission(authorized_ids=["b", "a"])
    expected = DataManager(
        key=new.key,
        name=new.name,
        owner="a",
        permissions=Permissions(process=both, download=both),
        description=new.description,
        opener=new.opener,
        creation_date=_dated(answer),
        logs_permission=Permission(authorized_ids=["a"]),
        metadata={"a": "b"},
    )
    (told,) = channel.events
    assert answer == expected == channel.known.data_manager(new.key) == told.payload

    sample = r.new_data_sample(new.key)
    sample.test_only = True  # accepted and not stored
    param = RegisterDataSamplesParam(samples=[sample])
    (stored,) = channel.call("DataSampleService/RegisterDataSamples", param).data_samples
    assert stored == DataSample(
        key=sample.key,
        data_manager_keys=[new.key],
        owner="a",
        checksum=sample.checksum,
        creation_date=_dated(stored),
    )
    assert stored == channel.known.data_sample(sample.key) == channel.events[-1].payload


def test_links_of_a_sample(channel: Channel) -> None:
    """Added to those that are there; a manager is named once, unless it is linked already (4.4)."""
    (first, key), (second, _), (third, _) = (channel.data(by="a") for _ in range(3))
    before = channel.known.data_sample(key)
    assert before is not None
    expected = DataSample()
    expected.CopyFrom(before)
    expected.data_manager_keys.append(second)

    def link(*managers: str) -> None:
        param = UpdateDataSamplesParam(keys=[key], data_manager_keys=managers)
        channel.call("DataSampleService/UpdateDataSamples", param)

    link(first, first, second)
    assert channel.known.data_sample(key) == expected == channel.events[-1].payload
    with pytest.raises(Invalid, match="must not repeat"):
        link(third, third)
    twice = RegisterDataSamplesParam(samples=[r.new_data_sample(first, first)])
    with pytest.raises(Invalid, match="must not repeat"):
        channel.call("DataSampleService/RegisterDataSamples", twice)


def test_a_sample_belongs_to_somebody_registered(channel: Channel) -> None:
    """Also without a manager, whose owner would be."""
    param = RegisterDataSamplesParam(samples=[r.new_data_sample()])
    with pytest.raises(BadRequest, match='"c" is not registered'):
        channel.call("DataSampleService/RegisterDataSamples", param, by="c")
    (sample,) = channel.call("DataSampleService/RegisterDataSamples", param).data_samples
    assert (sample.owner, list(sample.data_manager_keys)) == ("a", [])


def test_a_plan_and_its_new_name(channel: Channel) -> None:
    new = r.new_plan()
    answer = channel.call("ComputePlanService/RegisterPlan", new)
    expected = ComputePlan(
        key=new.key,
        owner="a",
        name=new.name,
        tag=new.tag,
        metadata=new.metadata,
        creation_date=_dated(answer),
    )
    assert answer == expected == channel.events[-1].payload
    param = UpdateComputePlanParam(key=new.key, name="another")
    channel.call("ComputePlanService/UpdatePlan", param)
    expected.name = "another"
    assert channel.stored_plan(new.key) == expected == channel.events[-1].payload


def test_a_task(channel: Channel) -> None:
    plan, function, parent = channel.plan(), channel.function(*BUILT), _executing(channel)
    new = r.new_task(plan, function, r.parent(parent), worker="b")
    new.metadata["a"] = "b"
    (answer,) = channel.call(
        "ComputeTaskService/RegisterTasks", t.RegisterTasksParam(tasks=[new])
    ).tasks
    expected = t.ComputeTask(
        key=new.key,
        owner="a",
        compute_plan_key=plan,
        rank=1,
        worker="b",
        creation_date=_dated(answer),
        logs_permission=Permission(authorized_ids=["a"]),
        metadata={"a": "b"},
        inputs=new.inputs,
        outputs={"model": t.ComputeTaskOutput(permissions=OPEN)},
        function_key=function,
    )
    stored = channel.known.tasks[new.key]
    assert stored.message == expected
    (told,) = channel.events
    assert (told.key, told.task, told.status) == (new.key, stored, stored.status)
    expected.status = t.STATUS_WAITING_FOR_PARENT_TASKS
    assert answer == expected


def test_a_model_and_its_end(channel: Channel) -> None:
    task = _executing(channel)
    new = r.new_model(task)
    (answer,) = _models(channel, new)
    expected = Model(
        key=new.key,
        compute_task_key=task,
        address=new.address,
        permissions=OPEN,
        owner="b",
        creation_date=_dated(answer),
    )
    model, output = channel.events
    assert answer == expected == channel.known.model(new.key) == model.payload
    assert (output.key, output.kind) == (task, ASSET_COMPUTE_TASK_OUTPUT_ASSET)
    assert output.payload == _output(task, "model", ASSET_MODEL, new.key)

    stored = channel.known.tasks[task]
    child = r.new_task(stored.plan, stored.function, r.parent(task), worker="b")
    channel.register(child)
    for key in (task, child.key):
        channel.act(key, t.TASK_ACTION_CANCELED)
    channel.told()
    param = t.DisableOutputParam(compute_task_key=task, identifier="model")
    channel.call("ComputeTaskService/DisableOutput", param, by="b")
    expected.ClearField("address")
    (disabled,) = channel.events
    assert (disabled.event, disabled.payload) == (EVENT_ASSET_DISABLED, expected)


def test_a_performance(channel: Channel) -> None:
    function = channel.function(*BUILT, outputs={"p": f.FunctionOutput(kind=ASSET_PERFORMANCE)})
    new = r.new_task(channel.plan(), function, worker="a", outputs={"p": r.new_output()})
    channel.register(new)
    channel.act(new.key, t.TASK_ACTION_EXECUTING)
    channel.told()
    param = NewPerformance(
        compute_task_key=new.key, compute_task_output_identifier="p", performance_value=0.5
    )
    answer = channel.call("PerformanceService/RegisterPerformance", param)
    expected = Performance(
        compute_task_key=new.key,
        compute_task_output_identifier="p",
        performance_value=0.5,
        creation_date=_dated(answer),
    )
    performance, output = channel.events
    assert answer == expected == performance.payload
    key = f"{new.key}|p"
    assert output.payload == _output(new.key, "p", ASSET_PERFORMANCE, key)
    links = channel.known.tasks[new.key].links
    assert links is not None
    assert [(link.position, link.asset_key) for link in links["p"]] == [(0, key)]


def test_a_failure_report(channel: Channel) -> None:
    task, logs = _executing(channel), r.address()
    param = fr.NewFailureReport(
        asset_key=task,
        asset_type=fr.FAILED_ASSET_COMPUTE_TASK,
        error_type=fr.ERROR_TYPE_EXECUTION,
        logs_address=logs,
    )
    answer = channel.call("FailureReportService/RegisterFailureReport", param, by="b")
    expected = fr.FailureReport(
        asset_key=task,
        asset_type=fr.FAILED_ASSET_COMPUTE_TASK,
        error_type=fr.ERROR_TYPE_EXECUTION,
        logs_address=logs,
        creation_date=_dated(answer),
        owner="b",
    )
    assert answer == expected == channel.events[-1].payload
    again = fr.NewFailureReport()
    again.CopyFrom(param)
    again.asset_key = _executing(channel)
    with pytest.raises(Conflict, match="storage address"):
        channel.call("FailureReportService/RegisterFailureReport", again, by="b")


def test_a_functions_image_counts_once_it_has_a_checksum(channel: Channel) -> None:
    key, image = channel.function(), r.address()

    def update(name: str, image: Addressable) -> f.Function:
        param = f.UpdateFunctionParam(key=key, name=name, image=image)
        channel.call("FunctionService/UpdateFunction", param)
        told = channel.events[-1].payload
        assert isinstance(told, f.Function)
        assert told == channel.known.function(key)
        assert told.name == name
        return told

    assert update("first", image).image == image
    assert update("second", Addressable(storage_address="http://files.test/other")).image == image
    newer = r.address()
    assert update("third", newer).image == newer
    taken = r.new_function(archive=Addressable(storage_address=newer.storage_address))
    with pytest.raises(Conflict, match="storage address"):
        channel.call("FunctionService/RegisterFunction", taken)
    with pytest.raises(Invalid, match="image"):
        update("fourth", Addressable(checksum="x" * 201))


# ------------------------------------------------------------------ several assets of one output
def test_a_multiple_output_goes_into_a_multiple_input(channel: Channel) -> None:
    parent = _executing(channel, outputs=MANY)
    (child,) = channel.register(
        r.new_task(channel.plan(), channel.function(*BUILT), r.parent(parent), worker="b")
    )
    assert child.pending == 1


def test_a_model_is_not_registered_twice_in_a_call(channel: Channel) -> None:
    task = _executing(channel, outputs=MANY)
    one, other = r.new_model(task), r.new_model(task)
    other.key = one.key
    with pytest.raises(Conflict, match=f'model with key "{one.key}"'):
        _models(channel, one, other)
    other = r.new_model(task)
    other.address.CopyFrom(one.address)
    with pytest.raises(Conflict, match="storage address"):
        _models(channel, one, other)


def test_a_model_is_no_performance(channel: Channel) -> None:
    function = channel.function(*BUILT, outputs={"p": f.FunctionOutput(kind=ASSET_PERFORMANCE)})
    new = r.new_task(channel.plan(), function, worker="b", outputs={"p": r.new_output()})
    channel.register(new)
    channel.act(new.key, t.TASK_ACTION_EXECUTING, by="b")
    with pytest.raises(WrongOutputKind, match="OE0107"):
        _models(channel, r.new_model(new.key, "p"))


@pytest.mark.parametrize("ending", [t.TASK_ACTION_DONE, t.TASK_ACTION_CANCELED])
def test_a_disabled_model_of_a_task_that_is_done_has_no_further_children(
    channel: Channel, ending: int
) -> None:
    """Children of a canceled task are canceled themselves: they need no model."""
    task = _executing(channel)
    _models(channel, r.new_model(task))
    stored = channel.known.tasks[task]
    child = r.new_task(stored.plan, stored.function, r.parent(task), worker="b")
    channel.register(child)
    channel.act(task, ending, by="b")
    channel.act(child.key, t.TASK_ACTION_CANCELED)
    param = t.DisableOutputParam(compute_task_key=task, identifier="model")
    channel.call("ComputeTaskService/DisableOutput", param, by="b")
    late = r.new_task(stored.plan, stored.function, r.parent(task), worker="b")
    if ending == t.TASK_ACTION_DONE:
        with pytest.raises(Invalid, match="has been disabled"):
            channel.register(late)
    else:
        (canceled,) = channel.register(late)
        assert canceled.status == t.STATUS_CANCELED
