"""Both state machines as callers meet them: every status, action and caller (orchestrator.md 5.5, 7.1, 7.2).

The tables of `test_states` are about single moves; these run the commands, with what follows from them.
"""

from itertools import product

import pytest

from orchestrator.errors import BadRequest, Denied, IllegalTransition, Refusal
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import function_pb2 as f
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import Channel

Status = t.ComputeTaskStatus
SLOT, BUILD, PARENTS, EXECUTOR, EXEC, DONE, CANCELED, FAILED = (
    t.STATUS_WAITING_FOR_BUILDER_SLOT,
    t.STATUS_BUILDING,
    t.STATUS_WAITING_FOR_PARENT_TASKS,
    t.STATUS_WAITING_FOR_EXECUTOR_SLOT,
    t.STATUS_EXECUTING,
    t.STATUS_DONE,
    t.STATUS_CANCELED,
    t.STATUS_FAILED,
)
OPEN = (SLOT, BUILD, PARENTS, EXECUTOR, EXEC)
WORKERS, BOTH = ("b",), ("a", "b")
TASK_ACTIONS: dict[int, tuple[tuple[str, ...], str, tuple[int, ...], int]] = {
    # action: who may, transition, from, to
    t.TASK_ACTION_EXECUTING: (WORKERS, "transitionExecuting", (EXECUTOR,), EXEC),
    t.TASK_ACTION_DONE: (WORKERS, "transitionDone", (EXEC,), DONE),
    t.TASK_ACTION_CANCELED: (BOTH, "transitionCanceled", OPEN, CANCELED),
    t.TASK_ACTION_FAILED: (BOTH, "transitionFailed", OPEN, FAILED),
}
TASK_CASES = list(
    product((*OPEN, DONE, CANCELED, FAILED), [*t.ComputeTaskAction.values(), 99], "abc")
)


@pytest.fixture
def channel() -> Channel:
    return Channel("a", "b", "c")


def task_in(channel: Channel, status: int) -> str:
    """A task of "a" with worker "b", brought into the status by legal calls."""
    builds = {SLOT: 0, BUILD: 1}.get(status, 2)  # type: ignore[call-overload]
    actions = (f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)[:builds]
    plan, function = channel.plan(), channel.function(*actions)
    parents = []
    if status == PARENTS:
        parent = r.new_task(plan, function, worker="a")
        channel.register(parent)
        parents.append(r.parent(parent.key))
    (task,) = channel.register(r.new_task(plan, function, *parents, worker="b"))
    path = {
        EXEC: [t.TASK_ACTION_EXECUTING],
        DONE: [t.TASK_ACTION_EXECUTING, t.TASK_ACTION_DONE],
        CANCELED: [t.TASK_ACTION_CANCELED],
        FAILED: [t.TASK_ACTION_FAILED],
    }
    for action in path.get(status, []):  # type: ignore[call-overload]
        channel.act(task.key, action, by="b")
    assert task.status == status
    channel.told()
    return task.key


@pytest.mark.parametrize(("status", "action", "caller"), TASK_CASES)
def test_task_action(channel: Channel, status: int, action: int, caller: str) -> None:
    key = task_in(channel, status)
    task = channel.known.tasks[key]
    plan = channel.stored_plan(task.plan)
    had_failed = plan.HasField("failure_date")
    callers, transition, sources, target = TASK_ACTIONS.get(action, ((), "", (), 0))
    if caller in callers and status in sources:
        channel.act(key, action, by=caller)
        assert task.status == target
        assert channel.told() == [f"COMPUTE_TASK UPDATED {Status.Name(target)[7:]}"]  # type: ignore[arg-type]
    else:
        with pytest.raises(Refusal) as refusal:
            channel.act(key, action, by=caller)
        if caller in callers:
            name = Status.Name(status)  # type: ignore[arg-type]
            assert isinstance(refusal.value, IllegalTransition)
            assert str(refusal.value) == f"event {transition} inappropriate in current state {name}"
        else:
            assert isinstance(refusal.value, Denied)  # before the state is looked at
        assert (task.status, channel.told()) == (status, [])
    fails = had_failed or task.status == FAILED
    assert channel.stored_plan(task.plan).HasField("failure_date") is fails


# ------------------------------------------------------------------ functions, and the tasks that follow
FUNCTION_PATHS: dict[int, tuple[int, ...]] = {
    f.FUNCTION_STATUS_WAITING: (),
    f.FUNCTION_STATUS_BUILDING: (f.FUNCTION_ACTION_BUILDING,),
    f.FUNCTION_STATUS_READY: (f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY),
    f.FUNCTION_STATUS_FAILED: (f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_FAILED),
    f.FUNCTION_STATUS_CANCELED: (f.FUNCTION_ACTION_CANCELED,),
}
W, B = f.FUNCTION_STATUS_WAITING, f.FUNCTION_STATUS_BUILDING
FUNCTION_ACTIONS: dict[int, tuple[str, dict[int, int]]] = {
    # action: transition, {from: to}
    f.FUNCTION_ACTION_BUILDING: ("transitionBuilding", {W: B}),
    f.FUNCTION_ACTION_READY: ("transitionReady", {B: f.FUNCTION_STATUS_READY}),
    f.FUNCTION_ACTION_FAILED: ("transitionFailed", {B: f.FUNCTION_STATUS_FAILED}),
    f.FUNCTION_ACTION_CANCELED: (
        "transitionCanceled",
        {W: f.FUNCTION_STATUS_CANCELED, B: f.FUNCTION_STATUS_CANCELED},
    ),
}
FUNCTION_CASES = list(product(FUNCTION_PATHS, [*f.FunctionAction.values(), 99], "ab"))


@pytest.mark.parametrize(("status", "action", "caller"), FUNCTION_CASES)
def test_function_action(channel: Channel, status: int, action: int, caller: str) -> None:
    key = channel.function(*FUNCTION_PATHS[status])
    channel.told()
    transition, moves = FUNCTION_ACTIONS.get(action, ("", {}))
    expected = status
    if caller == "a" and status in moves:
        channel.build(key, action, by=caller)
        expected = moves[status]
        assert channel.events[0].reason == "User action"
        assert channel.told() == ["FUNCTION UPDATED"]
    else:
        error = BadRequest if not transition else Denied if caller == "b" else IllegalTransition
        with pytest.raises(error) as refusal:
            channel.build(key, action, by=caller)
        if error is IllegalTransition:
            name = f.FunctionStatus.Name(status)  # type: ignore[arg-type]
            assert str(refusal.value) == f"event {transition} inappropriate in current state {name}"
        assert channel.told() == []
    function = channel.known.function(key)
    assert function is not None
    assert function.status == expected


FOLLOWS = {  # what an action does to a task of the function: {from: to}
    f.FUNCTION_ACTION_BUILDING: {SLOT: BUILD},
    f.FUNCTION_ACTION_READY: {BUILD: EXECUTOR},
    f.FUNCTION_ACTION_FAILED: {BUILD: FAILED},
    f.FUNCTION_ACTION_CANCELED: {BUILD: CANCELED, SLOT: CANCELED},
}


@pytest.mark.parametrize(
    ("action", "task", "ended"),
    product(FOLLOWS, (SLOT, BUILD), (None, t.TASK_ACTION_CANCELED, t.TASK_ACTION_FAILED)),
)
def test_tasks_follow_their_function_unless_they_have_ended(
    channel: Channel, action: int, task: int, ended: int | None
) -> None:
    key = task_in(channel, task)
    if ended is not None:
        channel.act(key, ended)
    channel.told()
    before = channel.known.tasks[key].status
    function = channel.known.tasks[key].function
    if task == SLOT and action in (f.FUNCTION_ACTION_READY, f.FUNCTION_ACTION_FAILED):
        with pytest.raises(IllegalTransition):
            channel.build(function, action)
        assert channel.known.tasks[key].status == before
        return
    if task == BUILD and action == f.FUNCTION_ACTION_BUILDING:
        with pytest.raises(IllegalTransition):
            channel.build(function, action)
        assert channel.known.tasks[key].status == before
        return
    channel.build(function, action)
    expected = before if ended is not None else FOLLOWS[action][task]  # type: ignore[index]
    assert channel.known.tasks[key].status == expected
    moved = [] if ended is not None else [f"COMPUTE_TASK UPDATED {Status.Name(expected)[7:]} slim"]
    assert channel.told() == ["FUNCTION UPDATED", *moved]


# ------------------------------------------------------------------ first status, with real parents
FIRST = list(product(FUNCTION_PATHS, [None, EXECUTOR, EXEC, DONE, CANCELED, FAILED]))


@pytest.mark.parametrize(("function", "parent"), FIRST)
def test_first_status_and_what_it_does_to_the_plan(
    channel: Channel, function: int, parent: int | None
) -> None:
    inputs = [] if parent is None else [r.parent(task_in(channel, parent))]
    key = channel.function(*FUNCTION_PATHS[function])
    plan = channel.plan()
    channel.told()
    (task,) = channel.register(r.new_task(plan, key, *inputs, worker="c"))
    if parent in (CANCELED, FAILED):
        expected = CANCELED
    elif function == f.FUNCTION_STATUS_READY:
        expected = EXECUTOR if parent in (None, DONE) else PARENTS
    else:
        expected = {
            f.FUNCTION_STATUS_WAITING: SLOT,
            f.FUNCTION_STATUS_BUILDING: BUILD,
            f.FUNCTION_STATUS_FAILED: FAILED,
            f.FUNCTION_STATUS_CANCELED: CANCELED,
        }[function]  # type: ignore[index]
    assert task.status == expected
    assert channel.told() == [f"COMPUTE_TASK CREATED {Status.Name(expected)[7:]}"]
    # Otherwise nothing would ever end the plan (14.1: to be decided explicitly).
    assert channel.stored_plan(plan).HasField("failure_date") is (expected == FAILED)
