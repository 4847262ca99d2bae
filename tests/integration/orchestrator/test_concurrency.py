"""Many callers at once: groups, order, and nobody lost (rule 7)."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import psycopg2
import pytest

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


def test_no_call_of_many_clients_is_lost(a: Member, crowd: list[Member]) -> None:
    plan, function = a.plan(), a.function()

    def write(member: Member) -> list[str]:
        tasks = [r.new_task(plan, function, worker="a") for _ in range(10)]
        for task in tasks:
            member.register(task)
        return r.keys(tasks)

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

    def finish(member: Member, key: str) -> None:
        member.act(key, t.TASK_ACTION_EXECUTING, t.TASK_ACTION_DONE)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(finish, crowd, r.keys(parents)))
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

    def write(member: Member) -> str:
        task = r.new_task(plan, function, worker="a")
        member.register(task)
        return task.key

    with ThreadPoolExecutor(CLIENTS) as pool:
        keys = [pool.submit(write, member) for member in crowd]
        a.build(function, f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)
        statuses = {a.task(key.result()).status for key in keys}
    assert statuses == {t.STATUS_WAITING_FOR_EXECUTOR_SLOT}


def test_one_of_many_with_the_same_key_wins(a: Member, crowd: list[Member]) -> None:
    plan = r.new_plan()

    def write(member: Member) -> grpc.StatusCode:
        try:
            member.call("ComputePlanService/RegisterPlan", plan)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    with ThreadPoolExecutor(CLIENTS) as pool:
        codes = Counter(pool.map(write, crowd))
    assert codes == {grpc.StatusCode.OK: 1, grpc.StatusCode.ALREADY_EXISTS: CLIENTS - 1}


def test_same_address_in_two_channels_at_once_is_taken_by_one(a: Member, server: Server) -> None:
    with Member(server.address, "a", "yourchannel") as other:
        other.join()
        for _ in range(20):
            functions = [r.new_function(), r.new_function()]
            functions[1].archive.CopyFrom(functions[0].archive)

            def write(member: Member, new: f.NewFunction) -> grpc.StatusCode:
                try:
                    member.call("FunctionService/RegisterFunction", new)
                except grpc.RpcError as error:
                    return error.code()
                return grpc.StatusCode.OK

            with ThreadPoolExecutor(2) as pool:
                codes = Counter(pool.map(write, (a, other), functions))
            assert codes == {grpc.StatusCode.OK: 1, grpc.StatusCode.ALREADY_EXISTS: 1}


def test_a_fault_in_the_database_fails_only_its_own_request(
    a: Member, crowd: list[Member], database: "psycopg2.extensions.connection"
) -> None:
    """A constraint that the rules do not know stands for any unexpected error."""
    with database.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE compute_plan ADD CHECK (encode(document, 'escape') NOT LIKE '%poison%')"
        )

    def write(number: int) -> grpc.StatusCode:
        plan = r.new_plan()
        plan.name = "poison" if number % 8 == 0 else "plan"
        try:
            crowd[number].call("ComputePlanService/RegisterPlan", plan)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    with ThreadPoolExecutor(CLIENTS) as pool:
        codes = list(pool.map(write, range(CLIENTS)))
    expected = [grpc.StatusCode.OK if n % 8 else grpc.StatusCode.INTERNAL for n in range(CLIENTS)]
    assert codes == expected
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*), max(position) FROM event WHERE channel = 'mychannel'")
        count, last = cursor.fetchone() or (0, 0)
    assert count == last == 2 + CLIENTS - CLIENTS // 8


def test_writer_refuses_more_than_it_can_queue(a: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "WAITING_LIMIT", 0)
    with pytest.raises(grpc.RpcError) as refusal:
        a.plan()
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
