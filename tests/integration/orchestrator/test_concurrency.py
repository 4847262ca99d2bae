"""Many callers at once: groups, order, and nobody lost (rule 7)."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import repeat

import grpc
import psycopg2
import pytest
from google.protobuf.message import Message

from orchestrator import writer as writing
from orchestrator.server import Server
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import function_pb2 as f
from tests.integration.orchestrator.member import Member
from tests.unit.orchestrator import requests as r

CLIENTS = 32


@pytest.fixture
def crowd(a: Member, server: Server) -> Iterator[list[Member]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Member(server.address)) for _ in range(CLIENTS)]


def _register(plan: str, function: str, count: int, member: Member) -> list[str]:
    """The keys of new tasks, each registered by its own call."""
    tasks = [r.new_task(plan, function, worker="a") for _ in range(count)]
    for task in tasks:
        member.register(task)
    return r.keys(tasks)


def _code(rpc: str, member: Member, request: Message) -> grpc.StatusCode:
    """How a call ends."""
    try:
        member.call(rpc, request)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_no_call_of_many_clients_is_lost(a: Member, crowd: list[Member]) -> None:
    write = partial(_register, a.plan(), a.function(), 10)
    with ThreadPoolExecutor(CLIENTS) as pool:
        keys = [key for found in pool.map(write, crowd) for key in found]
    told = [event.asset_key for event in a.events(326) if event.HasField("compute_task")]
    assert Counter(told) == Counter(keys)
    assert len(keys) == 320


def test_parallel_end_of_all_parents_releases_the_child_once(
    a: Member, crowd: list[Member]
) -> None:
    plan, function = a.plan(), a.function()
    parents = [r.new_task(plan, function, worker="a") for _ in range(CLIENTS)]
    child = r.new_task(plan, function, *(r.parent(one.key) for one in parents), worker="b")
    a.register(*parents, child)
    actions = (t.TASK_ACTION_EXECUTING, t.TASK_ACTION_DONE)
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda member, key: member.act(key, *actions), crowd, r.keys(parents)))
    assert a.task(child.key).status == t.STATUS_WAITING_FOR_EXECUTOR_SLOT
    told = a.events(6 + CLIENTS + 1 + 2 * CLIENTS + 1)
    moves = [event for event in told if event.asset_key == child.key]
    assert [event.compute_task.status for event in moves] == [
        t.STATUS_WAITING_FOR_PARENT_TASKS,
        t.STATUS_WAITING_FOR_EXECUTOR_SLOT,
    ]


def test_tasks_registered_while_their_function_is_built_never_stay_behind(
    a: Member, crowd: list[Member]
) -> None:
    plan, function = a.plan(), a.function(build=False)
    with ThreadPoolExecutor(CLIENTS) as pool:
        written = [pool.submit(_register, plan, function, 1, member) for member in crowd]
        a.build(function, f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)
        statuses = {a.task(key).status for keys in written for key in keys.result()}
    assert statuses == {t.STATUS_WAITING_FOR_EXECUTOR_SLOT}


def test_one_of_many_with_the_same_key_wins(a: Member, crowd: list[Member]) -> None:
    register = partial(_code, "ComputePlanService/RegisterPlan")
    with ThreadPoolExecutor(CLIENTS) as pool:
        codes = Counter(pool.map(register, crowd, repeat(r.new_plan())))
    assert codes == {grpc.StatusCode.OK: 1, grpc.StatusCode.ALREADY_EXISTS: CLIENTS - 1}


def test_same_address_in_two_channels_at_once_is_taken_by_one(a: Member, server: Server) -> None:
    with Member(server.address, "a", "yourchannel") as other:
        other.join()
        register = partial(_code, "FunctionService/RegisterFunction")
        for _ in range(20):
            functions = [r.new_function(), r.new_function()]
            functions[1].archive.CopyFrom(functions[0].archive)
            with ThreadPoolExecutor(2) as pool:
                codes = Counter(pool.map(register, (a, other), functions))
            assert codes == {grpc.StatusCode.OK: 1, grpc.StatusCode.ALREADY_EXISTS: 1}


def test_a_fault_in_the_database_fails_only_its_own_request(
    a: Member, crowd: list[Member], database: "psycopg2.extensions.connection"
) -> None:
    """A constraint that the rules do not know stands for any unexpected error."""
    with database.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE compute_plan ADD CHECK (encode(document, 'escape') NOT LIKE '%poison%')"
        )
    plans = [r.new_plan() for _ in range(CLIENTS)]
    for number, plan in enumerate(plans):
        plan.name = "poison" if number % 8 == 0 else "plan"
    register = partial(_code, "ComputePlanService/RegisterPlan")
    with ThreadPoolExecutor(CLIENTS) as pool:
        codes = list(pool.map(register, crowd, plans))
    expected = [grpc.StatusCode.OK if n % 8 else grpc.StatusCode.INTERNAL for n in range(CLIENTS)]
    assert codes == expected
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*), max(position) FROM event WHERE channel = 'mychannel'")
        count, last = cursor.fetchone() or (0, 0)
    assert count == last == 2 + CLIENTS - CLIENTS // 8


def test_writer_refuses_more_than_it_can_queue(a: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "WAITING_CALLS", 0)
    with pytest.raises(grpc.RpcError) as refusal:
        a.plan()
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
