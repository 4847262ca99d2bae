"""Who is next: weighted rounds of channels and plans, within what the site has."""

import time
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from backend.engine.compute.claiming import Claiming, Look
from backend.engine.compute.demands import Needs
from backend.engine.compute.preparing import PreparingStore
from backend.engine.compute.queue import Claimed, NewWork, WorkQueue
from backend.engine.compute.tables import Kind
from backend.kit.database import Database

PLENTY = Needs(1000, 10**15, 1000)


class Round:
    """Tasks put in and claimed, one short transaction a call."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(
        self,
        plan: UUID,
        count: int = 1,
        *,
        channel: str = "mychannel",
        ready: bool = True,
        **resources: float,
    ) -> list[UUID]:
        keys = [uuid4() for _ in range(count)]
        offer: dict[str, Any] | None = {"resources": resources} if ready else None
        with self.database.transaction() as session:
            WorkQueue(session).add(
                [NewWork(Kind.TASK, key, channel, plan, offer=offer) for key in keys]
            )
        return keys

    def look(self, has: Needs = PLENTY) -> Look:
        with self.database.transaction(durable=False) as session:
            return Claiming(session).claim(uuid4(), has)

    def claim(self, has: Needs = PLENTY) -> Claimed:
        found = self.look(has).work
        assert found is not None
        return found

    def plans(self, count: int) -> list[UUID | None]:
        return [self.claim().compute_plan_key for _ in range(count)]

    def settle(self, work: Claimed) -> None:
        with self.database.transaction() as session:
            assert WorkQueue(session).settle(work)

    def weigh(self, plan: UUID, weight: float) -> None:
        with self.database.transaction() as session:
            Claiming(session).weigh(plan, weight)

    def execute(self, statement: str, **values: object) -> None:
        with self.database.transaction() as session:
            session.connection().execute(text(statement), values)


@pytest.fixture
def round_(database: Database) -> Round:
    return Round(database)


def test_a_plan_of_ten_thousand_does_not_delay_a_plan_of_ten(round_: Round) -> None:
    large, small = uuid4(), uuid4()
    round_.put(large, 10_000)
    assert round_.plans(5) == [large] * 5
    round_.put(small, 10)
    order = round_.plans(20)
    assert Counter(order) == {small: 10, large: 10}
    assert order[:2] in ([small, large], [large, small])
    round_.execute("ANALYZE work")
    began = time.perf_counter()
    round_.plans(100)
    assert time.perf_counter() - began < 5  # 50 ms each would be a scan of them all


def test_preparation_takes_from_every_plan_alike(round_: Round, database: Database) -> None:
    large, small = uuid4(), uuid4()
    round_.put(large, 10_000, ready=False)
    keys = round_.put(small, 10, ready=False)
    with database.transaction() as session:
        found = PreparingStore(session).new(64)
    assert len(found) == 64
    assert {work.key for work in found if work.compute_plan_key == small} == set(keys)


def test_a_plan_of_twice_the_weight_gets_twice_the_turns(round_: Round) -> None:
    heavy, normal, light = uuid4(), uuid4(), uuid4()
    for plan, weight in ((heavy, 2.0), (normal, 1.0), (light, 0.5)):
        round_.put(plan, 100)
        round_.weigh(plan, weight)
    counts = Counter(round_.plans(70))
    assert abs(counts[heavy] - 40) <= 2
    assert abs(counts[normal] - 20) <= 2
    assert abs(counts[light] - 10) <= 2


def test_a_channel_gets_its_share_however_many_plans_the_other_has(round_: Round) -> None:
    for _ in range(5):
        round_.put(uuid4(), 30)
    round_.put(uuid4(), 60, channel="yourchannel")
    with round_.database.transaction() as session:
        Claiming(session).channel("yourchannel", 2.0)
    channels = Counter(round_.claim().channel for _ in range(60))
    assert abs(channels["yourchannel"] - 40) <= 2


def test_who_was_idle_has_saved_nothing_up(round_: Round) -> None:
    busy, idle = uuid4(), uuid4()
    round_.put(idle, 1)
    assert round_.plans(1) == [idle]
    round_.put(busy, 100)
    round_.plans(50)
    round_.put(idle, 50)
    assert Counter(round_.plans(20)) == {busy: 10, idle: 10}


def test_tasks_of_one_plan_go_in_their_order(round_: Round) -> None:
    plan = uuid4()
    keys = round_.put(plan, 1) + round_.put(plan, 1) + round_.put(plan, 1)
    assert [round_.claim().key for _ in range(3)] == keys


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("cpus", Needs(4, 0, 0)),
        ("memory_bytes", Needs(0, 4, 0)),
        ("gpus", Needs(0, 0, 4)),
    ],
)
def test_tasks_that_run_together_stay_within_what_the_site_has(
    round_: Round, name: str, has: Needs
) -> None:
    round_.put(uuid4(), 3, **{name: 2})  # type: ignore[arg-type]
    first, second = round_.claim(has), round_.claim(has)
    assert round_.look(has) == Look(None, blocked=True)
    round_.settle(first)
    third = round_.claim(has)
    assert {first.key, second.key} & {third.key} == set()


def test_half_a_gpu_leaves_the_other_half(round_: Round) -> None:
    round_.put(uuid4(), 3, gpus=0.5)
    has = Needs(1, 1, 1)
    round_.claim(has)
    round_.claim(has)
    assert round_.look(has).work is None


def test_shares_that_are_no_round_numbers_fit_together(round_: Round) -> None:
    round_.put(uuid4(), 3, cpus=2 / 3)
    has = Needs(2, 0, 0)
    assert all(round_.look(has).work for _ in range(3))


def test_a_large_task_lets_small_ones_pass_but_not_for_ever(round_: Round) -> None:
    has = Needs(4, 0, 0)
    small, large = uuid4(), uuid4()
    round_.put(small, 10, cpus=2)
    running = [round_.claim(has)]
    (big,) = round_.put(large, cpus=4)
    running.append(round_.claim(has))
    round_.settle(running.pop(0))
    passing = round_.claim(has)  # the large one's turn, but it does not fit
    assert passing.compute_plan_key == small
    running.append(passing)
    round_.execute("UPDATE work SET changed = now() - interval '1 hour' WHERE key = :key", key=big)
    round_.settle(running.pop(0))
    assert round_.look(has).work is None  # now everybody waits for it
    round_.settle(running.pop(0))
    assert round_.claim(has).key == big
