"""A task's place in the queue and its reason to wait."""

from dataclasses import replace
from typing import Any

import pytest

from backend.assets.tasks.states import TaskStatus
from backend.engine.compute.tables import State
from backend.engine.waiting.rules import Row, Turn, position, reason

A = Turn("a", "mychannel", 0.0, 1.0, 0.0, 1.0, 10_000)
B = Turn("b", "mychannel", 0.0, 1.0, 0.0, 1.0, 10)


def test_the_only_plan_goes_in_its_order() -> None:
    assert [position("a", index, [A]) for index in (0, 1, 9_999)] == [1, 2, 10_000]


def test_a_small_plan_alternates_with_a_large_one() -> None:
    assert position("b", 9, [A, B]) == 19
    assert position("a", 9_999, [A, B]) == 10_010


def test_weight_counts() -> None:
    heavy = replace(A, weight=2.0)
    assert position("b", 9, [heavy, B]) == 28


def test_who_started_later_goes_later() -> None:
    late = replace(B, start=5.0)
    assert position("b", 0, [A, late]) == 6


def test_the_other_channel_takes_its_turns() -> None:
    other = Turn("c", "yourchannel", 0.0, 1.0, 0.0, 1.0, 3)
    assert position("b", 9, [B, other]) == 13
    assert position("b", 1, [B, other]) == 3


def test_a_plan_without_ready_tasks_has_no_place() -> None:
    assert position("x", 0, [A]) is None


SLOT = TaskStatus.WAITING_FOR_EXECUTOR_SLOT


@pytest.mark.parametrize(
    ("values", "place", "words"),
    [
        ({"status": TaskStatus.DONE, "state": None}, None, "it is done"),
        ({"status": TaskStatus.BUILDING, "state": None}, None, "being built"),
        ({"status": TaskStatus.WAITING_FOR_BUILDER_SLOT, "state": None}, None, "by its owner"),
        (
            {"status": TaskStatus.WAITING_FOR_BUILDER_SLOT, "state": None, "builds_before": 2},
            None,
            "builds before it: 2",
        ),
        (
            {
                "status": TaskStatus.WAITING_FOR_PARENT_TASKS,
                "state": None,
                "parents": 3,
                "open_parents": 2,
            },
            None,
            "2 of 3 parent tasks",
        ),
        ({"status": SLOT, "state": None}, None, "event is on its way"),
        ({"status": SLOT, "state": State.NEW}, None, "to be prepared"),
        ({"status": SLOT, "state": State.NEW, "cause": "disk full"}, None, "disk full"),
        ({"status": SLOT, "state": State.NEW, "attempts": 1}, None, "tried again"),
        ({"status": SLOT, "state": State.PREPARING}, None, "brought here"),
        ({"status": SLOT, "state": State.READY}, 1, "it is next"),
        ({"status": SLOT, "state": State.READY}, 5, "tasks before it: 4"),
        ({"status": SLOT, "state": State.READY, "fits": False}, 1, "does not fit"),
        ({"status": TaskStatus.EXECUTING, "state": State.LEASED}, None, "a runner has it"),
        (
            {"status": TaskStatus.EXECUTING, "state": State.LEASED, "canceled": True},
            None,
            "being stopped",
        ),
        ({"status": TaskStatus.EXECUTING, "state": State.REPORTING}, None, "registered"),
    ],
)
def test_every_wait_has_its_reason(values: dict[str, Any], place: int | None, words: str) -> None:
    assert words in reason(Row(**values), place)
