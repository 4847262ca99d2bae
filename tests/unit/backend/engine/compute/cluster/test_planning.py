"""What the pool does next, as tables."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.engine.compute.cluster.planning import (
    Demand,
    Group,
    Phase,
    Session,
    Step,
    plan_groups,
    plan_sessions,
)

A, B = "fn-a", "fn-b"


def session(plan: str, phase: Phase = Phase.RUNNING, group: str = A, id: str = "s") -> Session:  # noqa: A002
    pod = None if phase is Phase.PENDING else f"pod-{id}"
    return Session(id, plan, group, phase, pod)


def opened(
    demands: list[Demand], sessions: list[Session], maximum: dict[str, int]
) -> list[tuple[str, str]]:
    steps = plan_sessions(demands, sessions, maximum)
    return [(step.group, step.plan) for step in steps if step.what == "open"]


@pytest.mark.parametrize(
    ("tasks", "running", "maximum", "new"),
    [
        (0, 0, 4, 0),
        (1, 0, 4, 1),
        (3, 1, 4, 2),
        (9, 0, 4, 4),
        (9, 4, 4, 0),
        (1, 2, 4, 0),
        (3, 0, 0, 0),
    ],
)
def test_as_many_sessions_as_tasks_up_to_the_maximum(
    tasks: int, running: int, maximum: int, new: int
) -> None:
    sessions = [session("p", id=str(number)) for number in range(running)]
    assert opened([Demand("p", A, tasks)], sessions, {A: maximum}) == [(A, "p")] * new


def test_plans_share_a_groups_pods() -> None:
    demands = [Demand("long", A, 10), Demand("short", A, 1)]
    assert opened(demands, [], {A: 3}) == [(A, "long"), (A, "short"), (A, "long")]
    busy = [session("long", id="1"), session("long", id="2")]
    assert opened(demands, busy, {A: 3}) == [(A, "short")]


def test_groups_do_not_share() -> None:
    demands = [Demand("p", A, 2), Demand("p", B, 2)]
    assert opened(demands, [], {A: 1, B: 2}) == [(A, "p"), (B, "p"), (B, "p")]


def test_an_ended_session_leaves_with_its_pod() -> None:
    steps = plan_sessions([], [session("p", Phase.ENDED, id="1")], {A: 4})
    assert steps == [
        Step("retire", A, pod="pod-1", session="1"),
        Step("forget", A, "p", "1"),
    ]


def test_an_ended_session_without_a_pod_is_forgotten() -> None:
    ended = replace(session("p", Phase.ENDED, id="1"), pod=None)
    assert [step.what for step in plan_sessions([], [ended], {A: 4})] == ["forget"]


def test_an_ended_session_is_replaced_while_there_are_tasks() -> None:
    assert opened([Demand("p", A, 1)], [session("p", Phase.ENDED)], {A: 1}) == [(A, "p")]


def test_a_session_that_waits_for_nothing_is_stopped() -> None:
    waiting = [session("p", Phase.PENDING, id="1"), session("p", Phase.PENDING, id="2")]
    assert plan_sessions([Demand("p", A, 1)], waiting, {A: 4}) == [Step("stop", A, "p", "1")]
    assert plan_sessions([], [session("p", Phase.RUNNING)], {A: 4}) == []


def test_a_stopped_session_makes_room_for_another_plan() -> None:
    steps = plan_sessions([Demand("q", A, 1)], [session("p", Phase.PENDING, id="1")], {A: 1})
    assert [(step.what, step.plan) for step in steps] == [("stop", "p"), ("open", "q")]


@given(
    st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from([A, B]), st.integers(0, 5))),
    st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from([A, B]), st.sampled_from(Phase))),
    st.integers(0, 4),
)
def test_never_more_sessions_than_a_group_may_have(
    demands: list[tuple[str, str, int]], sessions: list[tuple[str, str, Phase]], most: int
) -> None:
    there = [
        session(plan, phase, group, str(number))
        for number, (plan, group, phase) in enumerate(sessions)
    ]
    steps = plan_sessions([Demand(*demand) for demand in demands], there, {A: most, B: most})
    for group in (A, B):
        before = [s for s in there if s.group == group and s.phase is not Phase.ENDED]
        stopped = {step.session for step in steps if step.what == "stop"}
        new = [step for step in steps if step.what == "open" and step.group == group]
        after = len([s for s in before if s.id not in stopped]) + len(new)
        assert after <= max(most, len(before))


def steps_of(
    needed: list[str],
    groups: list[Group],
    announced: tuple[str, ...] = (),
    busy: dict[str, int] | None = None,
    most: int = 2,
    warm: int = 0,
) -> list[tuple[str, str, int]]:
    steps = plan_groups(needed, announced, groups, busy or {}, most=most, maximum=4, warm=warm)
    return [(step.what, step.group, step.number) for step in steps]


def group(name: str, used: float = 0, maximum: int = 4, minimum: int = 0) -> Group:
    return Group(name, maximum, 0, minimum, used)


def test_a_needed_group_is_appended() -> None:
    assert steps_of([A], []) == [("append", A, 4)]
    assert steps_of([A], [group(A)]) == []


def test_a_function_that_turned_ready_gets_its_group_ahead() -> None:
    assert steps_of([], [], announced=(A, B)) == [("append", A, 4), ("append", B, 4)]


def test_what_is_only_announced_evicts_nobody() -> None:
    assert steps_of([], [group("x"), group("y")], announced=(A,)) == []
    assert steps_of([A], [group("x")], announced=(B,)) == [("append", A, 4)]


def test_the_group_used_longest_ago_makes_room() -> None:
    there = [group("x", used=5), group("y", used=3)]
    assert steps_of([A], there) == [("evict", "y", 0)]
    assert steps_of([A, B], there) == [("evict", "y", 0), ("evict", "x", 0)]


def test_a_group_with_sessions_or_tasks_is_never_evicted() -> None:
    there = [group("x", used=1), group("y", used=2)]
    assert steps_of([A], there, busy={"x": 1}) == [("evict", "y", 0)]
    assert steps_of([A, "y"], there, busy={"x": 1}) == []


def test_an_eviction_that_was_begun_is_ended_and_counts() -> None:
    leaving = [group("x", maximum=0), group("y")]
    assert steps_of([A], leaving) == [("evict", "x", 0)]


def test_a_warm_minimum_counts_pods_that_served_nobody() -> None:
    assert steps_of([], [group(A, minimum=1)], warm=1) == []
    assert steps_of([A], [group(A, minimum=1)], busy={A: 2}, warm=1) == [("bound", A, 3)]
    assert steps_of([A], [group(A, minimum=3)], busy={A: 9}, warm=1) == [("bound", A, 4)]
    assert steps_of([], [group(A, minimum=3)], warm=1) == [("bound", A, 1)]
    assert steps_of([], [group(A, minimum=3)]) == [("bound", A, 0)]
