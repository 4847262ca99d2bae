"""RegisterTasks: what one task is refused for (orchestrator.md 6.5)."""

from typing import Any

import pytest

from orchestrator.errors import BadRequest, Denied, Invalid, NotFound, Refusal
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator.common_pb2 import ASSET_MODEL
from protos.orchestrator.function_pb2 import (
    FUNCTION_ACTION_BUILDING,
    FUNCTION_ACTION_READY,
    FunctionInput,
    FunctionOutput,
)
from protos.orchestrator.model_pb2 import RegisterModelsParam
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import Channel

BUILT = (FUNCTION_ACTION_BUILDING, FUNCTION_ACTION_READY)


@pytest.fixture
def channel() -> Channel:
    return Channel("a", "b", "c")


# ------------------------------------------------------------------ refusals of one task
def test_only_the_owner_of_a_plan_adds_tasks(channel: Channel) -> None:
    task = r.new_task(channel.plan(), channel.function(*BUILT), worker="a")
    with pytest.raises(Denied, match="owner of a compute plan"):
        channel.register(task, by="b")


def test_function_must_be_permitted_to_the_owner_of_the_task(channel: Channel) -> None:
    function = channel.function(*BUILT, by="b", permissions=r.private("c"))
    with pytest.raises(Denied, match="cannot process function"):
        channel.register(r.new_task(channel.plan(), function, worker="b"))


def test_data_must_be_permitted_to_the_owner_of_the_task(channel: Channel) -> None:
    function = channel.function(*BUILT, inputs=r.TRAIN_INPUTS)
    manager, sample = channel.data(permissions=r.private("c"))
    data = [r.asset("opener", manager), r.asset("samples", sample)]
    with pytest.raises(Denied, match="cannot process data manager"):
        channel.register(r.new_task(channel.plan(), function, *data))


def test_parents_output_must_be_permitted_to_the_worker(channel: Channel) -> None:
    plan, function = channel.plan(), channel.function(*BUILT)
    outputs = {"model": r.new_output(r.private("b"))}
    first = r.new_task(plan, function, worker="a", outputs=outputs)
    with pytest.raises(Denied, match='"c" cannot process output'):
        channel.register(first, r.new_task(plan, function, r.parent(first.key), worker="c"))


def test_direct_model_must_be_permitted_to_the_worker(channel: Channel) -> None:
    plan, function = channel.plan(), channel.function(*BUILT)
    outputs = {"model": r.new_output(r.private())}
    (task,) = channel.register(r.new_task(plan, function, worker="a", outputs=outputs))
    channel.act(task.key, t.TASK_ACTION_EXECUTING)
    model = r.new_model(task.key)
    channel.call("ModelService/RegisterModels", RegisterModelsParam(models=[model]))
    allowed = r.new_task(plan, function, r.asset("shared", model.key), worker="a")
    assert channel.register(allowed)[0].worker == "a"
    with pytest.raises(Denied, match='"c" cannot process model'):
        channel.register(r.new_task(plan, function, r.asset("shared", model.key), worker="c"))


def _variants() -> list[Any]:
    sample, manager = r.asset("samples", "SAMPLE"), r.asset("opener", "MANAGER")
    twice = r.asset("opener", "MANAGER")
    foreign = r.asset("samples", "FOREIGN")
    case = pytest.param
    return [
        case([manager], {}, "", Invalid, 'input "samples" is missing', id="missing samples"),
        case([manager, sample, twice], {}, "", Invalid, "more than once", id="repeated"),
        case([manager, foreign], {}, "", Invalid, "not linked", id="sample of another manager"),
        case(
            [manager, sample, r.asset("x", r.key())],
            {},
            "",
            Invalid,
            "not declared",
            id="undeclared",
        ),
        case(
            [manager, r.asset("samples", r.key())],
            {},
            "",
            NotFound,
            "datasample",
            id="unknown sample",
        ),
        case(
            [r.asset("opener", r.key()), sample],
            {},
            "",
            NotFound,
            "datamanager",
            id="unknown manager",
        ),
        case(
            [manager, r.asset("shared", r.key()), sample],
            {},
            "",
            NotFound,
            "model",
            id="unknown model",
        ),
        case(
            [manager, sample],
            {},
            "a",
            BadRequest,
            "owner of its data",
            id="worker without the data",
        ),
        case([manager, sample], {"x": r.new_output()}, "", Invalid, "not declared", id="output"),
        case(
            [manager, sample],
            {"": r.new_output()},
            "",
            Invalid,
            "cannot be blank",
            id="nameless output",
        ),
        case([r.asset("opener", "not a key"), sample], {}, "", Invalid, "valid UUID", id="no key"),
        case(
            [t.ComputeTaskInput(identifier="opener")],
            {},
            "",
            Invalid,
            "ref: cannot be blank",
            id="no ref",
        ),
    ]


@pytest.mark.parametrize(("inputs", "outputs", "worker", "error", "text"), _variants())
def test_inputs_and_outputs_follow_the_function(
    channel: Channel,
    inputs: list[t.ComputeTaskInput],
    outputs: dict[str, t.NewComputeTaskOutput],
    worker: str,
    error: type[Refusal],
    text: str,
) -> None:
    manager, sample = channel.data()
    _, foreign = channel.data()
    names = {"MANAGER": manager, "SAMPLE": sample, "FOREIGN": foreign}
    function = channel.function(*BUILT, inputs=r.TRAIN_INPUTS)
    task = r.new_task(
        channel.plan(), function, worker=worker, outputs={"model": r.new_output()} | outputs
    )
    for given_input in inputs:
        entry = task.inputs.add()
        entry.CopyFrom(given_input)
        if entry.asset_key in names:
            entry.asset_key = names[entry.asset_key]
    with pytest.raises(error, match=text):
        channel.register(task)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (r.new_output(r.private()), "must be public"),
        (r.new_output(transient=True), "cannot be transient"),
    ],
)
def test_performances_are_public_and_lasting(
    channel: Channel, output: t.NewComputeTaskOutput, text: str
) -> None:
    function = channel.function(*BUILT, outputs=r.TEST_OUTPUTS)
    task = r.new_task(channel.plan(), function, worker="a", outputs={"performance": output})
    with pytest.raises(Invalid, match=text):
        channel.register(task)


@pytest.mark.parametrize(
    ("worker", "error", "text"),
    [
        ("", BadRequest, "needs a worker"),
        ("stranger", NotFound, 'organization with key "stranger"'),
    ],
)
def test_worker_must_be_known(
    channel: Channel, worker: str, error: type[Refusal], text: str
) -> None:
    with pytest.raises(error, match=text):
        channel.register(r.new_task(channel.plan(), channel.function(*BUILT), worker=worker))


def test_multiple_output_needs_a_multiple_input(channel: Channel) -> None:
    plan = channel.plan()
    many = channel.function(
        *BUILT, outputs={"model": FunctionOutput(kind=ASSET_MODEL, multiple=True)}
    )
    single = channel.function(*BUILT, inputs={"shared": FunctionInput(kind=ASSET_MODEL)})
    first = r.new_task(plan, many, worker="a")
    with pytest.raises(Invalid, match="takes one asset"):
        channel.register(first, r.new_task(plan, single, r.parent(first.key), worker="a"))


def test_performance_cannot_be_an_input(channel: Channel) -> None:
    plan = channel.plan()
    test = channel.function(*BUILT, outputs=r.TEST_OUTPUTS)
    first = r.new_task(plan, test, worker="a", outputs={"performance": r.new_output()})
    child = r.new_task(
        plan, channel.function(*BUILT), r.parent(first.key, "performance"), worker="a"
    )
    with pytest.raises(
        Invalid, match="wrong kind of parent output, ASSET_PERFORMANCE for ASSET_MODEL"
    ):
        channel.register(first, child)


def test_parent_with_a_disabled_model_is_refused(channel: Channel) -> None:
    plan, function = channel.plan(), channel.function(*BUILT)
    outputs = {"model": r.new_output(transient=True)}
    first = r.new_task(plan, function, worker="a", outputs=outputs)
    child = r.new_task(plan, function, r.parent(first.key), worker="a")
    channel.register(first, child)
    channel.act(first.key, t.TASK_ACTION_EXECUTING)
    models = RegisterModelsParam(models=[r.new_model(first.key)])
    channel.call("ModelService/RegisterModels", models)
    channel.act(first.key, t.TASK_ACTION_DONE)
    channel.act(child.key, t.TASK_ACTION_EXECUTING)
    channel.act(child.key, t.TASK_ACTION_DONE)
    disable = t.DisableOutputParam(compute_task_key=first.key, identifier="model")
    channel.call("ComputeTaskService/DisableOutput", disable)
    with pytest.raises(Invalid, match="has been disabled"):
        channel.register(r.new_task(plan, function, r.parent(first.key), worker="a"))


@pytest.mark.parametrize("identifier", ["opener", "samples"])
def test_data_is_never_the_output_of_a_task(channel: Channel, identifier: str) -> None:
    plan = channel.plan()
    manager, sample = channel.data()
    train = channel.function(*BUILT, inputs=r.TRAIN_INPUTS)
    first = r.new_task(plan, channel.function(*BUILT), worker="b")
    given = {"opener": r.asset("opener", manager), "samples": r.asset("samples", sample)}
    given[identifier] = r.parent(first.key, identifier=identifier)
    with pytest.raises(Invalid, match="must be an asset key"):
        channel.register(first, r.new_task(plan, train, *given.values(), worker="b"))
