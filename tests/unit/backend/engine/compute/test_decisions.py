"""Tables of the engine's pure rules."""

import math

import pytest

from backend.assets.compute_plans.states import PlanStatus
from backend.assets.tasks.states import TaskStatus
from backend.engine.compute.decisions import (
    Answer,
    Prepare,
    Verdict,
    back_off_s,
    clamp_microseconds,
    done,
    executing,
    is_performance,
    judge,
    nobody_needs,
    prepare,
    worn_out,
)
from backend.engine.compute.tables import State

T, P = TaskStatus, PlanStatus


@pytest.mark.parametrize(
    ("task", "plan", "expected"),
    [
        (None, None, Prepare.WAIT),
        (T.WAITING_FOR_EXECUTOR_SLOT, None, Prepare.WAIT),
        (T.WAITING_FOR_EXECUTOR_SLOT, P.DOING, Prepare.OFFER),
        (T.EXECUTING, P.DOING, Prepare.OFFER),
        (T.BUILDING, P.DOING, Prepare.WAIT),
        (T.WAITING_FOR_PARENT_TASKS, P.DOING, Prepare.EARLY),
        (T.WAITING_FOR_PARENT_TASKS, P.CANCELED, Prepare.DROP),
        (T.WAITING_FOR_PARENT_TASKS, P.FAILED, Prepare.DROP),
        (T.WAITING_FOR_EXECUTOR_SLOT, P.CANCELED, Prepare.CANCEL),
        (T.WAITING_FOR_EXECUTOR_SLOT, P.FAILED, Prepare.CANCEL),
        (T.DONE, P.CANCELED, Prepare.DROP),
        (T.FAILED, P.FAILED, Prepare.DROP),
        (T.CANCELED, P.DOING, Prepare.DROP),
    ],
)
def test_what_to_do_with_new_work(
    task: TaskStatus | None, plan: PlanStatus | None, expected: Prepare
) -> None:
    assert prepare(task, plan) is expected


@pytest.mark.parametrize(
    ("state", "current", "recorded", "expected"),
    [
        (State.LEASED, "a", None, Verdict.ACCEPT),
        (State.READY, "a", None, Verdict.ACCEPT),  # the lease ran out, and nobody took the task
        (State.LEASED, "b", None, Verdict.REFUSE),  # somebody did
        (State.REPORTING, "a", "a", Verdict.REPEAT),
        (State.REPORTING, "a", "b", Verdict.REFUSE),
        (State.DONE, "a", None, Verdict.REPEAT),
        (State.DONE, "b", None, Verdict.REFUSE),
        (State.NEW, "a", None, Verdict.REFUSE),
        (None, None, None, Verdict.REFUSE),
    ],
)
def test_which_results_are_accepted(
    state: State | None, current: str | None, recorded: str | None, expected: Verdict
) -> None:
    assert judge(state, current, recorded, "a") is expected


@pytest.mark.parametrize(
    ("status", "started", "finished"),
    [
        ("STATUS_EXECUTING", Answer.SUCCESS, Answer.BROKEN),
        ("STATUS_DONE", Answer.OVER, Answer.SUCCESS),
        ("STATUS_CANCELED", Answer.OVER, Answer.OVER),
        ("STATUS_FAILED", Answer.OVER, Answer.OVER),
        ("STATUS_WAITING_FOR_PARENT_TASKS", Answer.EARLY, Answer.BROKEN),
    ],
)
def test_refused_transitions(status: str, started: Answer, finished: Answer) -> None:
    assert executing(("transitionExecuting", status), unknown=False) is started
    assert done(("transitionDone", status), unknown=False) is finished


def test_a_lost_answer_is_asked_again_and_a_refusal_is_not() -> None:
    assert executing(None, unknown=True) is done(None, unknown=True) is Answer.AGAIN
    assert executing(None, unknown=False) is done(None, unknown=False) is Answer.BROKEN


def test_the_sixth_worker_is_not_risked() -> None:
    assert [worn_out(n) for n in (0, 4, 5, 6)] == [False, False, True, True]


def test_the_back_off_doubles_up_to_its_limit() -> None:
    assert [back_off_s(n) for n in (0, 1, 2, 3, 4)] == [0.5, 0.5, 1.0, 2.0, 4.0]
    assert back_off_s(50) == 60.0
    assert back_off_s(50, most=30) == 30.0


def test_a_build_of_two_hours_fits_the_ledgers_duration() -> None:
    assert clamp_microseconds(7200) == 2**32 - 1
    assert clamp_microseconds(1.5) == 1_500_000
    assert clamp_microseconds(-1) == 0


@pytest.mark.parametrize("value", [0, 1.5, -3e38, math.nan])
def test_numbers_that_are_performances(value: float) -> None:
    assert is_performance(value)


@pytest.mark.parametrize("value", [None, True, "1", math.inf, -math.inf, 1e39, [1]])
def test_what_is_no_performance(value: object) -> None:
    assert not is_performance(value)


def test_a_function_is_needed_while_a_plan_goes_on_or_none_used_it_yet() -> None:
    assert not nobody_needs([])
    assert not nobody_needs([P.CANCELED, P.DOING])
    assert nobody_needs([P.CANCELED, P.FAILED])
