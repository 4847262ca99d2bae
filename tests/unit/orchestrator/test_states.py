"""Both state machines, every pair (orchestrator.md 7.1, 7.2), and who may ask for what (5.5)."""

from itertools import product

import pytest

from orchestrator.errors import Denied, IllegalTransition
from orchestrator.rules import states
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import function_pb2 as f

W, B, R, C, F = (
    f.FUNCTION_STATUS_WAITING,
    f.FUNCTION_STATUS_BUILDING,
    f.FUNCTION_STATUS_READY,
    f.FUNCTION_STATUS_CANCELED,
    f.FUNCTION_STATUS_FAILED,
)
FUNCTION_TABLE: dict[str, dict[int, int]] = {
    "transitionBuilding": {W: B},
    "transitionReady": {B: R},
    "transitionFailed": {B: F},
    "transitionCanceled": {W: C, B: C},
}
SLOT, BUILD, PARENT, EXECUTOR, EXEC = (
    t.STATUS_WAITING_FOR_BUILDER_SLOT,
    t.STATUS_BUILDING,
    t.STATUS_WAITING_FOR_PARENT_TASKS,
    t.STATUS_WAITING_FOR_EXECUTOR_SLOT,
    t.STATUS_EXECUTING,
)
OPEN = (SLOT, BUILD, PARENT, EXECUTOR, EXEC)
TASK_TABLE: dict[str, dict[int, int]] = {
    "transitionBuilding": {SLOT: BUILD},
    "transitionWaitingParentTasks": {BUILD: PARENT},
    "transitionWaitingExecutorSlot": {BUILD: EXECUTOR, PARENT: EXECUTOR},
    "transitionExecuting": {EXECUTOR: EXEC},
    "transitionDone": {EXEC: t.STATUS_DONE},
    "transitionFailed": dict.fromkeys(OPEN, t.STATUS_FAILED),
    "transitionCanceled": dict.fromkeys(OPEN, t.STATUS_CANCELED),
}
FUNCTION_PAIRS = list(product(FUNCTION_TABLE, f.FunctionStatus.values()))
TASK_PAIRS = list(product(TASK_TABLE, t.ComputeTaskStatus.values()))


@pytest.mark.parametrize(("transition", "status"), FUNCTION_PAIRS)
def test_function_moves_exactly_as_the_table_says(transition: str, status: int) -> None:
    expected = FUNCTION_TABLE[transition].get(status)
    if expected is not None:
        assert states.move_function(status, transition) == expected  # type: ignore[arg-type]
        return
    name = f.FunctionStatus.Name(status)  # type: ignore[arg-type]
    with pytest.raises(IllegalTransition) as refusal:
        states.move_function(status, transition)  # type: ignore[arg-type]
    assert str(refusal.value) == f"event {transition} inappropriate in current state {name}"


@pytest.mark.parametrize(("transition", "status"), TASK_PAIRS)
def test_task_moves_exactly_as_the_table_says(transition: str, status: int) -> None:
    expected = TASK_TABLE[transition].get(status)
    if expected is not None:
        assert states.move_task(status, transition) == expected  # type: ignore[arg-type]
        return
    name = t.ComputeTaskStatus.Name(status)  # type: ignore[arg-type]
    with pytest.raises(IllegalTransition) as refusal:
        states.move_task(status, transition)  # type: ignore[arg-type]
    assert str(refusal.value) == f"event {transition} inappropriate in current state {name}"


@pytest.mark.parametrize("status", t.ComputeTaskStatus.values())
def test_a_status_is_final_when_no_transition_leaves_it(status: int) -> None:
    leaves = any(status in table for table in TASK_TABLE.values())
    assert states.is_final(status) is not leaves  # type: ignore[arg-type]


ALLOWED = {
    t.TASK_ACTION_EXECUTING: ({"worker", "both"}, "transitionExecuting"),
    t.TASK_ACTION_DONE: ({"worker", "both"}, "transitionDone"),
    t.TASK_ACTION_CANCELED: ({"owner", "worker", "both"}, "transitionCanceled"),
    t.TASK_ACTION_FAILED: ({"owner", "worker", "both"}, "transitionFailed"),
}
CALLERS = ("owner", "worker", "both", "stranger")


@pytest.mark.parametrize(
    ("action", "caller"), product([*t.ComputeTaskAction.values(), 99], CALLERS)
)
def test_who_may_ask_for_a_task_action(action: int, caller: str) -> None:
    owner, worker = ("both", "both") if caller == "both" else ("owner", "worker")
    callers, transition = ALLOWED.get(action, (set(), ""))  # type: ignore[call-overload]
    if caller in callers:
        assert states.task_transition(action, caller, owner=owner, worker=worker) == transition
    else:
        with pytest.raises(Denied, match="OE0102"):
            states.task_transition(action, caller, owner=owner, worker=worker)


STATUSES = [t.STATUS_DONE, t.STATUS_FAILED, t.STATUS_CANCELED, t.STATUS_EXECUTING]


@pytest.mark.parametrize(("function", "one", "other"), product((W, B, R, C, F), STATUSES, STATUSES))
def test_first_status_is_the_first_row_that_fits(function: int, one: int, other: int) -> None:
    if {one, other} & {t.STATUS_FAILED, t.STATUS_CANCELED}:
        expected = t.STATUS_CANCELED
    elif function == R:
        expected = EXECUTOR if one == other == t.STATUS_DONE else PARENT
    else:
        expected = {W: SLOT, B: BUILD, F: t.STATUS_FAILED, C: t.STATUS_CANCELED}[function]  # type: ignore[index]
    assert states.first_status(function, [one, other]) == expected  # type: ignore[arg-type, list-item]


def test_a_task_without_parents_on_a_ready_function_may_run() -> None:
    assert states.first_status(R, []) == EXECUTOR
