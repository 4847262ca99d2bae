"""A task's status only moves forward; its dates are set once."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from uuid import UUID

import pytest

from backend.assets.tasks.states import FINAL, TaskState, TaskStatus, is_forward, moved

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
WAITING = [
    TaskStatus.WAITING_FOR_BUILDER_SLOT,
    TaskStatus.BUILDING,
    TaskStatus.WAITING_FOR_PARENT_TASKS,
    TaskStatus.WAITING_FOR_EXECUTOR_SLOT,
    TaskStatus.EXECUTING,
]


def task(status: TaskStatus, **dates: datetime) -> TaskState:
    return TaskState(
        key=UUID(int=1),
        compute_plan=UUID(int=2),
        function=UUID(int=3),
        owner="a",
        worker="b",
        rank=0,
        status=status,
        **dates,
    )


@pytest.mark.parametrize(("first", "second"), product(TaskStatus, TaskStatus))
def test_of_two_statuses_at_most_one_follows_the_other(
    first: TaskStatus, second: TaskStatus
) -> None:
    assert not (is_forward(first, second) and is_forward(second, first))
    if first in FINAL:
        assert not is_forward(first, second)
    elif second in FINAL:
        assert is_forward(first, second)


def test_statuses_before_the_end_have_one_order() -> None:
    for earlier, later in pairwise(WAITING):
        assert is_forward(earlier, later)


def test_dates_are_those_of_the_first_events() -> None:
    running = moved(task(TaskStatus.WAITING_FOR_EXECUTOR_SLOT), TaskStatus.EXECUTING, NOON)
    assert (running.status, running.start_date) == (TaskStatus.EXECUTING, NOON)
    again = moved(running, TaskStatus.EXECUTING, LATER)
    assert again is running
    done = moved(running, TaskStatus.DONE, LATER)
    assert (done.status, done.start_date, done.end_date) == (TaskStatus.DONE, NOON, LATER)
    assert moved(done, TaskStatus.FAILED, LATER + timedelta(hours=1)) is done


def test_event_that_comes_late_still_brings_its_date() -> None:
    done = task(TaskStatus.DONE, end_date=LATER)
    assert moved(done, TaskStatus.EXECUTING, NOON).start_date == NOON
    assert moved(done, TaskStatus.EXECUTING, NOON).status is TaskStatus.DONE
