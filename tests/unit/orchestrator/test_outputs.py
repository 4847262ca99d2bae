"""Models, performances and transient outputs (orchestrator.md 6.6, 8.1, 8.2)."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.errors import (
    BadRequest,
    CannotDisable,
    Conflict,
    Denied,
    Invalid,
    NotFound,
    Refusal,
    UnknownOutput,
    WrongOutputKind,
)
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.common_pb2 import ASSET_MODEL, ASSET_PERFORMANCE
from protos.orchestrator.model_pb2 import RegisterModelsParam
from protos.orchestrator.performance_pb2 import NewPerformance
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import Channel

BUILT = (f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)


@pytest.fixture
def channel() -> Channel:
    return Channel("a", "b")


# ------------------------------------------------------------------ outputs
def models(channel: Channel, *new: Any, by: str = "a") -> Any:
    return channel.call("ModelService/RegisterModels", RegisterModelsParam(models=new), by=by)


def test_model_takes_the_permissions_of_the_output_and_belongs_to_the_worker(
    channel: Channel,
) -> None:
    task, _ = channel.running(permissions=r.private("b"))
    answer = models(channel, r.new_model(task))
    assert answer.models[0].owner == "a"
    assert list(answer.models[0].permissions.process.authorized_ids) == ["b", "a"]
    assert channel.told() == ["MODEL CREATED", "COMPUTE_TASK_OUTPUT_ASSET CREATED"]


def test_single_output_takes_one_model(channel: Channel) -> None:
    task, _ = channel.running()
    with pytest.raises(Conflict):
        models(channel, r.new_model(task), r.new_model(task))
    models(channel, r.new_model(task))
    with pytest.raises(Conflict, match="OE0006"):
        models(channel, r.new_model(task))


def test_multiple_output_takes_models_over_several_calls(channel: Channel) -> None:
    outputs = {"model": f.FunctionOutput(kind=ASSET_MODEL, multiple=True)}
    function = channel.function(*BUILT, outputs=outputs)
    (task,) = channel.register(r.new_task(channel.plan(), function, worker="a"))
    channel.act(task.key, t.TASK_ACTION_EXECUTING)
    models(channel, r.new_model(task.key), r.new_model(task.key))
    models(channel, r.new_model(task.key))
    assert task.links is not None
    assert [link.position for link in task.links["model"]] == [0, 1, 2]


Bend = Callable[[Any], None]


def _bent() -> list[Any]:
    return [
        pytest.param(
            lambda m: setattr(m, "compute_task_key", r.key()), NotFound, id="unknown task"
        ),
        pytest.param(lambda m: setattr(m, "key", "x"), Invalid, id="no key"),
        pytest.param(lambda m: m.ClearField("address"), Invalid, id="no address"),
        pytest.param(
            lambda m: setattr(m, "compute_task_output_identifier", "x"), UnknownOutput, id="output"
        ),
    ]


@pytest.mark.parametrize(("bend", "error"), _bent())
def test_model_refusals(channel: Channel, bend: Bend, error: type[Refusal]) -> None:
    task, _ = channel.running()
    model = r.new_model(task)
    bend(model)
    with pytest.raises(error):
        models(channel, model)


def test_models_of_a_call_come_from_one_executing_task_of_the_caller(channel: Channel) -> None:
    task, _ = channel.running()
    other, _ = channel.running()
    with pytest.raises(BadRequest, match="one task"):
        models(channel, r.new_model(task), r.new_model(other))
    with pytest.raises(Denied):
        models(channel, r.new_model(task), by="b")
    channel.act(task, t.TASK_ACTION_DONE)
    with pytest.raises(BadRequest, match="not executing"):
        models(channel, r.new_model(task))
    with pytest.raises(BadRequest, match="OE0003"):
        models(channel)


def test_storage_address_is_used_once(channel: Channel) -> None:
    one, _ = channel.running()
    two, _ = channel.running()
    first, second = r.new_model(one), r.new_model(two)
    second.address.CopyFrom(first.address)
    models(channel, first)
    with pytest.raises(Conflict, match="storage address"):
        models(channel, second)


def performance(channel: Channel, task: str, identifier: str = "performance", by: str = "a") -> Any:
    request = NewPerformance(
        compute_task_key=task, compute_task_output_identifier=identifier, performance_value=0.5
    )
    return channel.call("PerformanceService/RegisterPerformance", request, by=by)


def test_performance_is_registered_once_by_the_worker(channel: Channel) -> None:
    name = "p" * 100
    outputs = {name: f.FunctionOutput(kind=ASSET_PERFORMANCE)}
    function = channel.function(*BUILT, outputs=outputs)
    new = r.new_task(channel.plan(), function, worker="b", outputs={name: r.new_output()})
    (task,) = channel.register(new)
    channel.act(task.key, t.TASK_ACTION_EXECUTING, by="b")
    channel.told()
    with pytest.raises(Denied):
        performance(channel, task.key, name)
    performance(channel, task.key, name, by="b")
    assert channel.events[0].key == f"{task.key}|{name}"
    assert channel.told() == ["PERFORMANCE CREATED", "COMPUTE_TASK_OUTPUT_ASSET CREATED"]
    with pytest.raises(Conflict):
        performance(channel, task.key, name, by="b")


def test_output_kinds_are_not_mixed_up(channel: Channel) -> None:
    task, _ = channel.running()
    with pytest.raises(WrongOutputKind, match="OE0107"):
        performance(channel, task, "model")


# ------------------------------------------------------------------ transient outputs
def disable(channel: Channel, task: str, identifier: str = "model", by: str = "a") -> None:
    param = t.DisableOutputParam(compute_task_key=task, identifier=identifier)
    channel.call("ComputeTaskService/DisableOutput", param, by=by)


def test_transient_output_goes_when_every_child_has_ended(channel: Channel) -> None:
    task, plan = channel.running(transient=True)
    models(channel, r.new_model(task))
    function = channel.known.tasks[task].function
    (child,) = channel.register(r.new_task(plan, function, r.parent(task), worker="b"))
    with pytest.raises(CannotDisable, match="not in a final state"):
        disable(channel, task)
    channel.act(task, t.TASK_ACTION_DONE)
    with pytest.raises(CannotDisable, match="some child"):
        disable(channel, task)
    channel.act(child.key, t.TASK_ACTION_CANCELED, by="b")
    with pytest.raises(Denied):
        disable(channel, task, by="b")
    with pytest.raises(CannotDisable, match="no output"):
        disable(channel, task, "x")
    channel.told()
    disable(channel, task)
    assert channel.told() == ["MODEL DISABLED"]
    disable(channel, task)
    assert channel.told() == []


def test_output_without_child_or_model_or_transience_stays(channel: Channel) -> None:
    lasting, _ = channel.running()
    empty, _ = channel.running(transient=True)
    childless, _ = channel.running(transient=True)
    models(channel, r.new_model(childless))
    for task, text in ((lasting, "not transient"), (empty, "no asset"), (childless, "no child")):
        channel.act(task, t.TASK_ACTION_DONE)
        with pytest.raises(CannotDisable, match=text):
            disable(channel, task)
