"""Deadlines, sizes, queues: what cannot be carried out now is refused now, and nothing is written."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import psycopg2
import pytest

from orchestrator import limits
from orchestrator import writer as writing
from orchestrator.errors import Invalid, Overloaded
from orchestrator.server import Server
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import datasample_pb2
from tests.integration.orchestrator.member import Member
from tests.integration.orchestrator.waiting import until
from tests.unit.orchestrator import requests as r

Connection = psycopg2.extensions.connection
Submit = Callable[[writing.Writer, writing.Job], None]
REGISTER_PLAN = "/orchestrator.ComputePlanService/RegisterPlan"
REGISTER_TASKS = "/orchestrator.ComputeTaskService/RegisterTasks"


@pytest.fixture
def held(database: Connection) -> Iterator[Connection]:
    """Every commit of the channel waits until `held.rollback()`."""
    database.autocommit = False
    with database.cursor() as cursor:
        cursor.execute("SELECT 1 FROM channel_head WHERE channel = 'mychannel' FOR UPDATE")
    yield database
    database.rollback()
    database.autocommit = True


def _send(a: Member, method: str, raw: bytes, timeout_s: float = 20.0) -> Any:
    return a.channel.unary_unary(method)(raw, metadata=a.metadata, timeout=timeout_s)


def _plans(database: Connection) -> int:
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM compute_plan")
        (count,) = cursor.fetchone() or (0,)
    return int(count)


def test_what_nobody_waits_for_any_more_is_not_written(
    a: Member, server: Server, held: Connection
) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(a.plan)  # taken by the writer, waits for its commit
        until(lambda: _is_waiting(held))
        with pytest.raises(grpc.RpcError) as late:
            _send(a, REGISTER_PLAN, r.new_plan().SerializeToString(), timeout_s=0.5)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        held.rollback()
        assert first.result(20)
    assert a.plan()
    assert _plans(held) == 2


def _is_waiting(database: Connection) -> bool:
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'ledger-write' AND wait_event_type = 'Lock'"
        )
        (count,) = cursor.fetchone() or (0,)
    return bool(count)


def _late(submit: Submit) -> Submit:
    """Every deadline has passed already."""

    def submit_late(writer: writing.Writer, job: writing.Job) -> None:
        job.deadline = time.monotonic() - 1
        submit(writer, job)

    return submit_late


def test_a_passed_deadline_is_noticed_by_the_writer_itself(
    a: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client may not have noticed yet: clocks and cancellations take their time."""
    monkeypatch.setattr(writing.Writer, "submit", _late(writing.Writer.submit))
    with pytest.raises(grpc.RpcError) as refusal:
        a.plan()
    assert refusal.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "before the request was carried out" in str(refusal.value.details())


@pytest.mark.parametrize("name", ["WAITING_CALLS", "bytes"])
def test_a_full_queue_refuses_and_says_when_to_come_again(
    a: Member, server: Server, held: Connection, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "bytes":
        monkeypatch.setattr(limits, "WAITING_BYTES", 10)
    else:
        monkeypatch.setattr(writing, "WAITING_CALLS", 1)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(a.plan)]
        until(lambda: _is_waiting(held))
        if name != "bytes":
            waiting.append(pool.submit(a.plan))
            until(lambda: server.waiting("mychannel") == 1)
        with pytest.raises(grpc.RpcError) as refusal:
            a.plan()
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        (hint,) = refusal.value.trailing_metadata() or ()
        assert hint.key == "grpc-retry-pushback-ms"
        assert int(hint.value) > 0
        held.rollback()
        assert all(plan.result(20) for plan in waiting)
    assert a.plan()
    until(lambda: server.ledger.waiting_bytes == 0)


def test_requests_of_clients_that_have_gone_still_count(
    a: Member, server: Server, held: Connection
) -> None:
    """They stay in memory until the writer comes to them."""
    large = r.new_plan(metadata={str(number): "x" * 100 for number in range(1_000)})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(a.plan)
        until(lambda: _is_waiting(held))
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                _send(a, REGISTER_PLAN, large.SerializeToString(), timeout_s=0.2)
        assert server.ledger.waiting_bytes > 3 * 100_000
        held.rollback()
        assert first.result(20)
    until(lambda: server.ledger.waiting_bytes == 0)


def test_too_many_reads_are_refused(
    a: Member, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = a.plan()
    monkeypatch.setattr(server.ledger.waiting_reads, "_most", 0)
    server.ledger.waiting_reads.used = 1
    with pytest.raises(grpc.RpcError) as refusal:
        a.events(1)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    server.ledger.waiting_reads.used = 0
    assert a.events(3)[2].asset_key == plan
    assert server.ledger.waiting_reads.used == 0


def test_a_message_beyond_the_limit_is_refused_before_it_is_read(a: Member) -> None:
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as refusal:
        _send(a, REGISTER_TASKS, bytes(limits.MAX_MESSAGE + 1))
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in str(refusal.value.details())
    assert time.monotonic() - began < 10
    assert a.plan()


def test_a_small_message_that_unfolds_beyond_the_limit_is_refused(a: Member) -> None:
    packed = a.channel.unary_unary(REGISTER_TASKS)
    with pytest.raises(grpc.RpcError) as refusal:
        packed(
            bytes(limits.MAX_MESSAGE + 1),
            metadata=a.metadata,
            timeout=20,
            compression=grpc.Compression.Gzip,
        )
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert a.plan()


NESTED = b"\x0b" * 200 + b"\x0c" * 200  # an unknown group within a group within a group …
CUT_OFF = b"\x0a\xff\xff\xff\xff\x0f"
NOT_UTF8 = b"\x0a\x04\x0a\x02\xc3\x28"


@pytest.mark.parametrize("raw", [NESTED, CUT_OFF, NOT_UTF8])
def test_bytes_that_are_no_request_are_an_invalid_argument(a: Member, raw: bytes) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        _send(a, REGISTER_TASKS, raw)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "RegisterTasksParam" in str(refusal.value.details())


def test_a_call_with_too_many_parts_is_refused_at_once(
    a: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_PARTS", 7)
    plan, function = a.plan(), a.function()
    small = [r.new_task(plan, function, worker="a") for _ in range(3)]
    a.register(*small)
    with pytest.raises(grpc.RpcError) as refusal:
        a.register(*(r.new_task(plan, function, worker="a") for _ in range(4)))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 7" in str(refusal.value.details())


def test_a_call_with_too_many_tasks_is_refused_before_it_takes_the_writers_turn(
    a: Member, held: Connection
) -> None:
    """While a commit waits: the refusal does not."""
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(a.plan)
        until(lambda: _is_waiting(held))
        raw = b"\x0a\x00" * (limits.MAX_TASKS + 1)
        with pytest.raises(grpc.RpcError) as refusal:
            _send(a, REGISTER_TASKS, raw)
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert f"at most {limits.MAX_TASKS} are allowed" in str(refusal.value.details())
        held.rollback()
        assert first.result(20)
    limits.checked_parts(t.RegisterTasksParam(tasks=[t.NewComputeTask()] * limits.MAX_TASKS))


def test_parts_of_samples_are_counted_with_their_managers() -> None:
    most = limits.MAX_PARTS
    sample = datasample_pb2.NewDataSample(data_manager_keys=["x"] * (most - 1))
    limits.checked_parts(datasample_pb2.RegisterDataSamplesParam(samples=[sample]))
    sample.data_manager_keys.append("x")
    with pytest.raises(Invalid, match="OE0101"):
        limits.checked_parts(datasample_pb2.RegisterDataSamplesParam(samples=[sample]))
    keys = datasample_pb2.UpdateDataSamplesParam(keys=["x"] * 300, data_manager_keys=["x"] * 300)
    limits.checked_parts(keys)
    keys.data_manager_keys.extend(["x"] * 40)  # each key is linked to each manager
    with pytest.raises(Invalid, match="OE0101"):
        limits.checked_parts(keys)


def test_an_asset_too_large_for_other_clients_is_refused(a: Member) -> None:
    """Its event would end the stream of every client that takes 4 MiB, again and again."""
    large = {str(number): "x" * 100 for number in range(36_000)}
    with pytest.raises(grpc.RpcError) as refusal:
        a.call("ComputePlanService/RegisterPlan", r.new_plan(metadata=large))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    plan, function = a.plan(), a.function()
    task = r.new_task(plan, function, worker="a")
    task.metadata.update(large)
    with pytest.raises(grpc.RpcError) as refusal:
        a.register(r.new_task(plan, function, worker="a"), task)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert a.plan()


def test_a_reason_without_end_is_cut(a: Member) -> None:
    plan, function = a.plan(), a.function()
    task = r.new_task(plan, function, worker="a")
    a.register(task)
    log = "é" * 5_000_000
    action = t.ApplyTaskActionParam(
        compute_task_key=task.key, action=t.TASK_ACTION_CANCELED, log=log
    )
    a.call("ComputeTaskService/ApplyTaskAction", action)
    (told,) = a.events(8)[7:]
    assert told.compute_task.status == t.STATUS_CANCELED
    assert told.metadata["reason"] == log[: limits.LONGEST_REASON]


def test_one_large_request_fits_into_an_unused_budget() -> None:
    budget = limits.Budget(10, "bytes")
    budget.take(50)
    with pytest.raises(Overloaded):
        budget.take(1)
    budget.give_back(50)
    budget.take(4)
    budget.take(6)
    with pytest.raises(Overloaded):
        budget.take(1)
    assert budget.used == 10


def test_a_large_batch_is_answered_within_its_deadline(a: Member) -> None:
    plan, function = a.plan(), a.function()
    tasks = [r.new_task(plan, function, worker="a") for _ in range(5_000)]
    raw = t.RegisterTasksParam(tasks=tasks).SerializeToString()
    answer = t.RegisterTasksResponse.FromString(_send(a, REGISTER_TASKS, raw))
    assert len(answer.tasks) == 5_000
