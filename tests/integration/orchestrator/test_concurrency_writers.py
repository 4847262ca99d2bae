"""Thirty-two writers on one plan and on many: no call is lost, and what is left is right (rule 7)."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import psycopg2
import pytest

from orchestrator.server import Server
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import event_pb2 as e
from tests.integration.orchestrator.member import Member
from tests.unit.orchestrator import requests as r

WRITERS, ROUNDS = 32, 4
LIFE = (t.TASK_ACTION_EXECUTING, t.TASK_ACTION_DONE)


@pytest.fixture
def crowd(a: Member, server: Server) -> Iterator[list[Member]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Member(server.address)) for _ in range(WRITERS)]


def _lives(member: Member, plan: str, function: str) -> list[str]:
    """Chains of three: a parent that is executed with its model, a child that is, one that waits."""
    keys = []
    for _ in range(ROUNDS):
        first = r.new_task(plan, function, worker="a")
        second = r.new_task(plan, function, r.parent(first.key), worker="a")
        third = r.new_task(plan, function, r.parent(second.key), worker="b")
        member.register(first)
        member.register(third, second)
        for task in (first, second):
            member.act(task.key, t.TASK_ACTION_EXECUTING)
            member.model(task.key)
            member.act(task.key, t.TASK_ACTION_DONE)
        keys += [first.key, second.key, third.key]
    return keys


@pytest.mark.parametrize("plans", [1, WRITERS], ids=["one plan", "a plan each"])
def test_no_call_is_lost_and_every_invariant_holds(
    a: Member, crowd: list[Member], database: "psycopg2.extensions.connection", plans: int
) -> None:
    function = a.function()
    names = [a.plan() for _ in range(plans)]
    stream = a.subscribe()
    with ThreadPoolExecutor(WRITERS) as pool:
        jobs = [
            pool.submit(_lives, member, names[number % plans], function)
            for number, member in enumerate(crowd)
        ]
        keys = [key for job in jobs for key in job.result()]
    statuses = Counter(a.task(key).status for key in keys)
    chains = WRITERS * ROUNDS
    assert statuses == {t.STATUS_DONE: 2 * chains, t.STATUS_WAITING_FOR_EXECUTOR_SLOT: chains}
    # Per chain: 3 created, 2 lives of EXECUTING, model, output and DONE, 2 children released.
    expected = 2 + 3 + plans + chains * (3 + 2 * 4 + 2)
    pushed = [next(stream) for _ in range(expected)]
    stream.cancel()
    _check_order(pushed, a.events(expected))
    _check_tables(database, expected)


def _check_order(pushed: list[e.Event], replayed: list[e.Event]) -> None:
    """One order for everybody, dates that follow it, and every task's life in order in it."""
    assert [event.id for event in pushed] == [event.id for event in replayed]
    assert pushed == replayed
    assert len({event.id for event in pushed}) == len(pushed)
    stamps = [event.timestamp.ToNanoseconds() for event in pushed]
    assert stamps == sorted(stamps)
    lives: dict[str, list[int]] = {}
    for event in pushed:
        if event.HasField("compute_task"):
            lives.setdefault(event.asset_key, []).append(event.compute_task.status)
    order = [
        t.STATUS_WAITING_FOR_PARENT_TASKS,
        t.STATUS_WAITING_FOR_EXECUTOR_SLOT,
        t.STATUS_EXECUTING,
        t.STATUS_DONE,
    ]
    for life in lives.values():
        places = [order.index(status) for status in life]  # type: ignore[arg-type]
        assert all(after == before + 1 for before, after in pairwise(places))


INVARIANTS = {
    "positions without gap": "SELECT count(*) FROM (SELECT position, row_number() OVER (ORDER BY"
    " position) AS place FROM event WHERE channel = 'mychannel') e WHERE position <> place",
    "head is the last event": "SELECT count(*) FROM channel_head h WHERE channel = 'mychannel' AND"
    " position <> (SELECT max(position) FROM event WHERE channel = h.channel)",
    "pending counts the unfinished parents": "SELECT count(*) FROM compute_task c WHERE pending <>"
    " (SELECT count(*) FROM task_parent p JOIN compute_task t ON t.key = p.parent"
    " WHERE p.child = c.key AND t.status <> 4)",
    "nobody waits for parents that are done": "SELECT count(*) FROM compute_task"
    " WHERE status = 1 AND pending = 0",
    "status is that of the last event": "SELECT count(*) FROM compute_task c WHERE status <>"
    " (SELECT status FROM event WHERE task = c.key ORDER BY position DESC LIMIT 1)",
    "a model each, linked once": "SELECT count(*) FROM compute_task c WHERE status = 4 AND"
    " (SELECT count(*) FROM output_asset o JOIN model m ON m.key::text = o.asset_key"
    " WHERE o.task = c.key AND o.position = 0) <> 1",
    "an address for every file": "SELECT abs((SELECT count(*) FROM model) + 2 -"
    " (SELECT count(*) FROM storage_address))",
}


def _check_tables(database: "psycopg2.extensions.connection", events: int) -> None:
    found: dict[str, Any] = {}
    with database.cursor() as cursor:
        for name, query in INVARIANTS.items():
            cursor.execute(query)
            (found[name],) = cursor.fetchone() or (None,)
        cursor.execute("SELECT count(*) FROM event WHERE channel = 'mychannel'")
        (count,) = cursor.fetchone() or (0,)
    assert found == dict.fromkeys(INVARIANTS, 0)
    assert count == events


def test_writers_that_want_the_same_get_it_once(a: Member, crowd: list[Member]) -> None:
    """All try every step of one task's life; each step succeeds for one, and the others read why not."""
    plan, function = a.plan(), a.function()
    task = r.new_task(plan, function, worker="a")
    model = r.new_model(task.key)
    steps = [
        lambda member: member.register(task),
        lambda member: member.act(task.key, t.TASK_ACTION_EXECUTING),
        lambda member: member.call("ModelService/RegisterModel", model),
        lambda member: member.act(task.key, t.TASK_ACTION_DONE),
    ]
    refusals = [
        f'OE0006: computetask with key "{task.key}" already exists',
        "event transitionExecuting inappropriate in current state STATUS_EXECUTING",
        f'OE0006: asset for output "model" of computetask with key "{task.key}" already exists',
        "event transitionDone inappropriate in current state STATUS_DONE",
    ]
    with ThreadPoolExecutor(WRITERS) as pool:
        for step, refusal in zip(steps, refusals, strict=True):
            tried = [pool.submit(step, member) for member in crowd]
            outcomes = Counter(str(_details(job.exception())) for job in tried)
            assert outcomes == {"": 1, refusal: WRITERS - 1}
    assert len(a.events(2 + 1 + 3 + 5)) == 11


def _details(error: BaseException | None) -> str:
    return "" if error is None else error.details()  # type: ignore[attr-defined]
