"""Order of the checks around tasks (orchestrator.md 6.5, 6.6, 8.2, 8.3), as ladders of faults."""

from collections.abc import Callable
from typing import Any

import pytest

from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import failure_report_pb2 as fr
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.common_pb2 import ASSET_MODEL, ASSET_PERFORMANCE, Addressable
from protos.orchestrator.model_pb2 import RegisterModelsParam
from protos.orchestrator.performance_pb2 import NewPerformance
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import Channel
from tests.unit.orchestrator.ladder import Call, Ladder, ask_as, change, put

BUILT = (f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)
Build = Callable[[Channel], Ladder]
UNREGISTERED = 'OE0003: organization "z" is not registered'


@pytest.fixture
def channel() -> Channel:
    return Channel("a", "b", "c")


# ------------------------------------------------------------------ 6.5: the batch
def register_tasks_batch(channel: Channel) -> Ladder:
    plan, function = channel.plan(), channel.function(*BUILT)
    (stored,) = channel.register(r.new_task(plan, function, worker="a"))
    good = r.new_task(plan, function, worker="a")
    bad = r.new_task(r.key(), function, r.parent(r.key()), worker="a")
    change(bad, key=stored.key, metadata={"k" * 101: ""})

    def mend(**values: Any) -> Callable[[Call], object]:
        return lambda call: change(call.request.tasks[1], **values)

    return Ladder(
        Call("ComputeTaskService/RegisterTasks", t.RegisterTasksParam()),
        [
            ("OE0003: no tasks", put(tasks=[good, bad])),
            ("OE0101: computetask is not valid: metadata", mend(metadata={})),
            (f'OE0006: computetask with key "{stored.key}"', mend(key=good.key)),
            (f'OE0006: computetask with key "{good.key}"', mend(key=r.key())),
            ("OE0101: cyclic dependency or unknown parent in compute graph: 1", mend(inputs=[])),
            ("OE0002: computeplan with key", mend(compute_plan_key=plan)),
        ],
    )


# ------------------------------------------------------------------ 6.5: one task
def register_task_with_data(channel: Channel) -> Ladder:
    """Rows 1, 3, 6, 7, 10 to 12 for a task on data of b."""
    plan, foreign_plan = channel.plan(), channel.plan(by="b")
    hidden = channel.function(*BUILT, by="b", permissions=r.private("c"))
    train = channel.function(*BUILT, inputs=r.TRAIN_INPUTS)
    manager, sample = channel.data()
    closed, _ = channel.data(permissions=r.private("c"))
    _, loose = channel.data()
    unknown = r.key()
    task = r.new_task(
        r.key(), r.key(), worker="c", outputs={"model": r.new_output(r.private("stranger"))}
    )

    def mend(**values: Any) -> Callable[[Call], object]:
        return lambda call: change(call.request.tasks[0], **values)

    def inputs(*given: t.ComputeTaskInput) -> Callable[[Call], object]:
        return mend(inputs=list(given))

    opener, samples = r.asset("opener", manager), r.asset("samples", sample)
    closed_opener = r.asset("opener", closed)
    return Ladder(
        Call("ComputeTaskService/RegisterTasks", t.RegisterTasksParam(tasks=[task])),
        [
            ("OE0002: computeplan", mend(compute_plan_key=foreign_plan)),
            ("OE0102: only the owner of a compute plan", mend(compute_plan_key=plan)),
            ("OE0002: function", mend(function_key=hidden)),
            (f'OE0102: organization "a" cannot process function "{hidden}"', _trained(train)),
            (
                "OE0003: invalid permission input values",
                mend(outputs={"x": r.new_output(r.private())}),
            ),
            ('input "x" is not declared', inputs(r.asset("opener", unknown))),
            (f'OE0002: datamanager with key "{unknown}"', inputs(closed_opener)),
            ("OE0003: the worker of a task must be the owner", mend(worker="")),
            ("OE0102", inputs(opener, r.asset("samples", unknown))),
            (f'OE0002: datasample with key "{unknown}"', inputs(opener, r.asset("samples", loose))),
            (f'OE0101: data sample "{loose}" is not linked', inputs(opener)),
            ('OE0101: input "samples" is missing', inputs(opener, samples)),
            ('OE0101: output "x" is not declared', mend(outputs={})),
            ('OE0101: output "model" is missing', mend(outputs={"model": r.new_output()})),
        ],
    )


def _trained(function: str) -> Callable[[Call], object]:
    """The function that takes data, and an input that it does not have."""
    undeclared = [r.asset("x", r.key())]
    return lambda call: change(call.request.tasks[0], function_key=function, inputs=undeclared)


def register_task_without_data(channel: Channel) -> Ladder:
    """Rows 5, 7, 8 and the models of row 10."""
    plan, function = channel.plan(), channel.function(*BUILT)
    single = channel.function(*BUILT, inputs={"one": f.FunctionInput(kind=ASSET_MODEL)})
    used = _disabled(channel, plan, function)
    outputs = {"model": r.new_output(r.private())}
    (private,) = channel.register(r.new_task(plan, function, worker="a", outputs=outputs))
    task = r.new_task(plan, single, r.parent(used, identifier="one"))

    def mend(**values: Any) -> Callable[[Call], object]:
        return lambda call: change(call.request.tasks[0], **values)

    def inputs(*given: t.ComputeTaskInput) -> Callable[[Call], object]:
        return mend(inputs=list(given))

    bad = r.parent(private.key, "x", "one")
    good = r.parent(private.key, identifier="one")
    return Ladder(
        Call("ComputeTaskService/RegisterTasks", t.RegisterTasksParam(tasks=[task])),
        [
            ("OE0101: some model of parent task", inputs(bad, bad)),
            ("OE0003: a task without data manager needs a worker", mend(worker="stranger")),
            ('OE0002: organization with key "stranger"', mend(worker="c")),
            ('OE0101: parent task "' + private.key + '" has no output "x"', inputs(good, good)),
            ('OE0102: organization "c" cannot process output "model"', mend(worker="a")),
            ('OE0101: input "one" is given more than once', inputs(r.asset("one", r.key()))),
            ("OE0002: model with key", inputs()),
            ('OE0101: input "one" is missing', inputs(good)),
        ],
    )


def _disabled(channel: Channel, plan: str, function: str) -> str:
    """A DONE task whose model is gone."""
    outputs = {"model": r.new_output(transient=True)}
    first = r.new_task(plan, function, worker="a", outputs=outputs)
    child = r.new_task(plan, function, r.parent(first.key), worker="a")
    channel.register(first, child)
    channel.act(first.key, t.TASK_ACTION_EXECUTING)
    models = RegisterModelsParam(models=[r.new_model(first.key)])
    channel.call("ModelService/RegisterModels", models)
    channel.act(first.key, t.TASK_ACTION_DONE)
    channel.act(child.key, t.TASK_ACTION_CANCELED)
    disable = t.DisableOutputParam(compute_task_key=first.key, identifier="model")
    channel.call("ComputeTaskService/DisableOutput", disable)
    return first.key


def apply_task_action(channel: Channel) -> Ladder:
    task, _ = channel.running()
    request = t.ApplyTaskActionParam(compute_task_key="x", action=t.TASK_ACTION_EXECUTING)
    return Ladder(
        Call("ComputeTaskService/ApplyTaskAction", request, "b"),
        [
            ("is not a valid key", put(compute_task_key=r.key())),
            ("OE0002: computetask with key", put(compute_task_key=task)),
            ("OE0102", ask_as("a")),
            (
                "event transitionExecuting inappropriate in current state STATUS_EXECUTING",
                put(action=t.TASK_ACTION_DONE),
            ),
        ],
    )


# ------------------------------------------------------------------ 6.6
def register_models(channel: Channel) -> Ladder:
    task, _ = channel.running()
    other, _ = channel.running()
    (waiting,) = channel.register(
        r.new_task(channel.plan(), channel.known.tasks[task].function, worker="a")
    )
    first = r.new_model(other)
    channel.call("ModelService/RegisterModels", RegisterModelsParam(models=[first]))
    bad = change(r.new_model(r.key(), "x"), key="x", address=first.address)

    def mend(**values: Any) -> Callable[[Call], object]:
        return lambda call: [change(model, **values) for model in call.request.models]

    def single(call: Call) -> None:
        del call.request.models[1:]

    return Ladder(
        Call("ModelService/RegisterModels", RegisterModelsParam(), "b"),
        [
            ("OE0003: no models", put(models=[bad, r.new_model(other)])),
            (
                "OE0002: computetask",
                lambda call: change(call.request.models[0], compute_task_key=waiting.key),
            ),
            ("OE0101: model is not valid: key: must be a valid UUID.", mend(key=first.key)),
            ("OE0102", ask_as("a")),
            (
                "OE0003: task",
                lambda call: change(call.request.models[0], compute_task_key=task),
            ),
            (
                "OE0106",
                lambda call: change(call.request.models[0], compute_task_output_identifier="model"),
            ),
            (f'OE0006: model with key "{first.key}"', mend(key=r.key())),
            ("OE0003: all models of a request", mend(compute_task_key=task)),
            ("OE0006: asset for output", single),
            ("OE0006: storage address", mend(address=r.address())),
        ],
    )


def register_performance(channel: Channel) -> Ladder:
    outputs = {
        "score": f.FunctionOutput(kind=ASSET_PERFORMANCE),
        "model": f.FunctionOutput(kind=ASSET_MODEL),
    }
    function = channel.function(*BUILT, outputs=outputs)
    given = {"score": r.new_output(), "model": r.new_output()}
    plan = channel.plan()
    waiting, task = channel.register(
        *(r.new_task(plan, function, worker="a", outputs=given) for _ in range(2))
    )
    channel.act(task.key, t.TASK_ACTION_EXECUTING)
    request = NewPerformance(compute_task_key=r.key())
    return Ladder(
        Call("PerformanceService/RegisterPerformance", request, "b"),
        [
            (
                "OE0101: performance is not valid: compute_task_output_identifier: cannot be blank.",
                put(compute_task_output_identifier="x"),
            ),
            ("OE0002: computetask", put(compute_task_key=waiting.key)),
            ("OE0102", ask_as("a")),
            ("OE0003: task", put(compute_task_key=task.key)),
            ("OE0106", put(compute_task_output_identifier="model")),
            ("OE0107", put(compute_task_output_identifier="score")),
        ],
    )


def disable_output(channel: Channel) -> Ladder:
    """The rows of 8.2; that an asset is no model cannot happen, for performances are never transient."""
    lasting, _ = channel.running()
    task, plan = channel.running(transient=True)
    function = channel.known.tasks[task].function
    child = r.new_task(plan, function, r.parent(task), worker="b")

    def ended(call: Call) -> None:
        channel.act(lasting, t.TASK_ACTION_FAILED)

    def without_asset(call: Call) -> None:
        (empty,) = channel.register(
            r.new_task(plan, function, worker="a", outputs={"model": r.new_output(transient=True)})
        )
        channel.act(empty.key, t.TASK_ACTION_CANCELED)
        call.request.compute_task_key = empty.key

    def without_child(call: Call) -> None:
        models = RegisterModelsParam(models=[r.new_model(task)])
        channel.call("ModelService/RegisterModels", models)
        channel.act(task, t.TASK_ACTION_DONE)
        call.request.compute_task_key = task

    return Ladder(
        Call("ComputeTaskService/DisableOutput", t.DisableOutputParam(compute_task_key="x"), "b"),
        [
            ("is not a valid key", put(compute_task_key=r.key())),
            ("OE0002: computetask", put(compute_task_key=lasting)),
            ("OE0102", ask_as("a")),
            (f'OE0108: task "{lasting}" is not in a final state', ended),
            (f'OE0108: task "{lasting}" has no output ""', put(identifier="model")),
            ("is not transient", without_asset),
            ('OE0108: output "model" of task', without_child),
            (f'OE0108: task "{task}" has no child', lambda call: channel.register(child)),
            (
                f'OE0108: some child of task "{task}"',
                lambda call: channel.act(child.key, t.TASK_ACTION_CANCELED, by="b"),
            ),
        ],
    )


def report_on_a_task(channel: Channel) -> Ladder:
    task, _ = channel.running()
    (waiting,) = channel.register(
        r.new_task(channel.plan(), channel.known.tasks[task].function, worker="a")
    )
    taken = r.new_function()
    channel.call("FunctionService/RegisterFunction", taken)
    logs = Addressable(checksum="x", storage_address=taken.archive.storage_address)
    request = fr.NewFailureReport(
        asset_key=r.key(), error_type=fr.ERROR_TYPE_EXECUTION, logs_address=logs
    )
    return Ladder(
        Call("FailureReportService/RegisterFailureReport", request, "b"),
        [
            ("OE0101: failurereport is not valid: logs_address", put(logs_address=taken.archive)),
            ("OE0003: asset type", put(asset_type=fr.FAILED_ASSET_COMPUTE_TASK)),
            ("OE0002: computetask", put(asset_key=waiting.key)),
            ("OE0102", ask_as("a")),
            ("OE0003: task", put(asset_key=task)),
            ("OE0006: storage address", put(logs_address=r.address())),
        ],
    )


def report_on_a_function(channel: Channel) -> Ladder:
    waiting = channel.function()
    building = channel.function(f.FUNCTION_ACTION_BUILDING)
    request = fr.NewFailureReport(
        asset_key=r.key(),
        error_type=9,  # type: ignore[arg-type]
        asset_type=fr.FAILED_ASSET_FUNCTION,
    )
    return Ladder(
        Call("FailureReportService/RegisterFailureReport", request, "b"),
        [
            ("OE0101: failurereport is not valid: error_type", put(error_type=3)),
            ("OE0002: function", put(asset_key=waiting)),
            ("OE0102", ask_as("a")),
            (
                "event transitionFailed inappropriate in current state FUNCTION_STATUS_WAITING",
                put(asset_key=building),
            ),
        ],
    )


LADDERS: list[Build] = [
    register_tasks_batch,
    register_task_with_data,
    register_task_without_data,
    apply_task_action,
    register_models,
    register_performance,
    disable_output,
    report_on_a_task,
    report_on_a_function,
]


@pytest.mark.parametrize("build", LADDERS, ids=lambda build: build.__name__)
def test_the_first_fault_in_the_order_of_the_specification_wins(
    channel: Channel, build: Build
) -> None:
    ladder = build(channel)
    channel.told()
    assert ladder.climb(channel) is not None
    assert channel.events
