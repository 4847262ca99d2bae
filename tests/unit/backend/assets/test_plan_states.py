"""The derived status of plans, by table (rest-api.md 21.4)."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.assets.compute_plans.states import (
    COUNTS,
    TASK_STATUSES,
    PlanChanges,
    PlanStatus,
    plan_end_date,
    plan_status,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE = timedelta(seconds=1)
PLAN = UUID(int=1)


def counts(**given: int) -> dict[str, int]:
    return dict.fromkeys(COUNTS, 0) | {f"{name}_count": n for name, n in given.items()}


@pytest.mark.parametrize(
    ("tasks", "canceled", "expected"),
    [
        ({}, False, PlanStatus.CREATED),
        ({}, True, PlanStatus.CANCELED),
        ({"waiting_builder_slot": 3}, False, PlanStatus.CREATED),
        ({"waiting_builder_slot": 3}, True, PlanStatus.CANCELED),
        ({"waiting_builder_slot": 2, "building": 1}, False, PlanStatus.DOING),
        ({"waiting_builder_slot": 2, "done": 1}, False, PlanStatus.DOING),
        ({"waiting_executor_slot": 1}, False, PlanStatus.DOING),
        ({"waiting_parent_tasks": 1, "executing": 1}, False, PlanStatus.DOING),
        ({"done": 4}, False, PlanStatus.DONE),
        ({"done": 4}, True, PlanStatus.CANCELED),
        ({"done": 3, "failed": 1}, False, PlanStatus.FAILED),
        ({"executing": 3, "failed": 1}, False, PlanStatus.FAILED),
        ({"done": 3, "canceled": 1}, False, PlanStatus.CANCELED),
        ({"failed": 3, "canceled": 1}, False, PlanStatus.CANCELED),
    ],
)
def test_first_matching_rule_gives_the_status(
    tasks: dict[str, int], canceled: bool, expected: PlanStatus
) -> None:
    assert plan_status(counts(**tasks), canceled=canceled) is expected


@pytest.mark.parametrize(
    ("tasks", "cancelation", "expected"),
    [
        ({}, None, None),
        ({"done": 2}, None, NOON),
        ({"done": 2, "executing": 1}, None, None),
        ({"done": 2, "waiting_parent_tasks": 1, "failed": 1}, None, NOON),
        ({"waiting_parent_tasks": 1, "canceled": 1}, None, NOON),
        ({"executing": 1}, NOON + ONE, NOON + ONE),
        ({"done": 2}, NOON + ONE, NOON + ONE),
    ],
)
def test_end_is_the_cancelation_or_the_last_task(
    tasks: dict[str, int], cancelation: datetime | None, expected: datetime | None
) -> None:
    last = NOON if any(name in ("done", "failed", "canceled") for name in tasks) else None
    assert plan_end_date(counts(**tasks), cancelation, last) == expected


def test_tasks_added_to_a_finished_plan_take_its_end_away() -> None:
    assert plan_end_date(counts(done=3), None, NOON) == NOON
    assert plan_end_date(counts(done=3, waiting_executor_slot=1), None, NOON) is None


statuses = st.sampled_from(sorted(TASK_STATUSES))


@given(st.lists(st.lists(statuses, min_size=1, max_size=4), max_size=6))
def test_differences_add_up_to_the_counts(lives: list[list[str]]) -> None:
    changes = PlanChanges()
    for life in lives:
        before = None
        for status in life:
            changes.task(PLAN, before, status)
            before = status
    ended = Counter(TASK_STATUSES[life[-1]] for life in lives)
    if lives:
        given_counts = changes.plans[PLAN].counts
        assert {name: n for name, n in given_counts.items() if n} == dict(ended)


def test_start_is_the_earliest_move_whatever_the_order() -> None:
    moments = [NOON + 2 * ONE, NOON, NOON + ONE]
    changes = PlanChanges()
    changes.seen(PLAN, "STATUS_WAITING_FOR_BUILDER_SLOT", NOON - ONE)
    for moment in moments:
        changes.seen(PLAN, "STATUS_BUILDING", moment)
    assert changes.plans[PLAN].first_move == NOON
