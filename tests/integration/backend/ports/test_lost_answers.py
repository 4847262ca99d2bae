"""Registrations over a connection that breaks around the commit: carried out once, and answered (rule 5)."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import psycopg2
import pytest

from backend.ports.ledger.client import ChannelLedger, Ledger
from backend.ports.ledger.errors import LedgerError
from backend.settings import Settings
from orchestrator.server import Server
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import failure_report_pb2 as fr
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.common_pb2 import ASSET_PERFORMANCE
from protos.orchestrator.performance_pb2 import NewPerformance
from tests.integration.backend.ports.cutting import Relay, relay
from tests.integration.orchestrator.member import Member
from tests.integration.orchestrator.waiting import until
from tests.unit.orchestrator import requests as r

Registration = Callable[[Member], tuple[Callable[[ChannelLedger], Any], Sequence[str]]]


@pytest.fixture
def server(database_url: str) -> Iterator[Server]:
    running = Server(database_url, {"mychannel": ["a", "b"]})
    running.start()
    yield running
    running.stop()


@pytest.fixture
def a(server: Server) -> Iterator[Member]:
    with Member(server.address) as member:
        yield member.join()


@pytest.fixture
def way(server: Server) -> Iterator[Relay]:
    with relay(server.address) as found:
        yield found


@pytest.fixture
def ledger(a: Member, way: Relay, settings: Settings) -> Iterator[ChannelLedger]:
    here = {"MSP_ID": "a", "ORCHESTRATOR_HOST": "127.0.0.1", "ORCHESTRATOR_PORT": way.port}
    found = Ledger(settings.model_copy(update=here))
    channel = found.on("mychannel")
    assert channel.organizations()  # the connection stands
    yield channel
    found.close()


def _events(url: str) -> int:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM event")
        (count,) = cursor.fetchone() or (0,)
    connection.close()
    return int(count)


# ------------------------------------------------------------------ what is registered
def _function(a: Member) -> tuple[Callable[[ChannelLedger], Any], Sequence[str]]:
    new = r.new_function(permissions=r.private("a"))
    return lambda ledger: [ledger.register_function(new)], [new.key]


def _manager(a: Member) -> tuple[Callable[[ChannelLedger], Any], Sequence[str]]:
    new = r.new_data_manager(metadata={"k": "v"}, type="ignored")
    return lambda ledger: [ledger.register_data_manager(new)], [new.key]


def _samples(a: Member) -> tuple[Callable[[ChannelLedger], Any], Sequence[str]]:
    new = [r.new_data_sample() for _ in range(3)]
    return lambda ledger: ledger.register_data_samples(new), r.keys(new)


def _plan(a: Member) -> tuple[Callable[[ChannelLedger], Any], Sequence[str]]:
    new = r.new_plan()
    return lambda ledger: [ledger.register_plan(new)], [new.key]


def _tasks(a: Member) -> tuple[Callable[[ChannelLedger], Any], Sequence[str]]:
    plan, function = a.plan(), a.function()
    outputs = {"model": r.new_output(r.private("a"), transient=True)}
    first = r.new_task(plan, function, worker="a", outputs=outputs)
    second = r.new_task(plan, function, r.parent(first.key), worker="a")
    return lambda ledger: ledger.register_tasks([second, first]), [first.key, second.key]


def _executing(a: Member, **function: Any) -> str:
    outputs = {name: r.new_output() for name in function.get("outputs", ["model"])}
    task = r.new_task(a.plan(), a.function(**function), worker="a", outputs=outputs)
    a.register(task)
    a.act(task.key, t.TASK_ACTION_EXECUTING)
    return task.key


def _models(a: Member) -> tuple[Callable[[ChannelLedger], Any], Sequence[str]]:
    new = [r.new_model(_executing(a))]
    return lambda ledger: ledger.register_models(new), r.keys(new)


def _performance(a: Member) -> tuple[Callable[[ChannelLedger], Any], Sequence[str]]:
    task = _executing(a, outputs={"p": f.FunctionOutput(kind=ASSET_PERFORMANCE)})
    new = NewPerformance(
        compute_task_key=task, compute_task_output_identifier="p", performance_value=float("nan")
    )
    return lambda ledger: [ledger.register_performance(new)], [task]


def _report(a: Member) -> tuple[Callable[[ChannelLedger], Any], Sequence[str]]:
    new = fr.NewFailureReport(
        asset_key=_executing(a),
        asset_type=fr.FAILED_ASSET_COMPUTE_TASK,
        error_type=fr.ERROR_TYPE_EXECUTION,
        logs_address=r.address(),
    )
    return lambda ledger: [ledger.register_failure_report(new)], [new.asset_key]


KINDS: dict[str, tuple[Registration, str, int]] = {
    # what: how, name of the key, events
    "function": (_function, "key", 1),
    "data manager": (_manager, "key", 1),
    "data samples": (_samples, "key", 3),
    "plan": (_plan, "key", 1),
    "tasks": (_tasks, "key", 2),
    "models": (_models, "key", 2),
    "performance": (_performance, "compute_task_key", 2),
    "failure report": (_report, "asset_key", 2),
}


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("what", KINDS)
def test_a_registration_over_a_cut_connection_is_carried_out_once(
    a: Member, way: Relay, ledger: ChannelLedger, database_url: str, what: str, lost: str
) -> None:
    prepare, name, told = KINDS[what]
    register, keys = prepare(a)
    before = _events(database_url)
    way.swallow = "up" if lost == "request" else "down"
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(register, ledger)
        if lost == "request":
            until(lambda: way.swallowed > 0)
            assert _events(database_url) == before
        else:
            until(lambda: _events(database_url) == before + told)
        way.cut()
        answer = call.result(30)
    assert [getattr(asset, name) for asset in answer] == list(keys)
    assert _events(database_url) == before + told


def test_what_somebody_else_stored_under_the_key_is_no_success(
    a: Member, way: Relay, ledger: ChannelLedger
) -> None:
    taken = r.new_plan()
    a.call("ComputePlanService/RegisterPlan", taken)
    other = r.new_plan(key=taken.key, name="other")
    way.swallow = "up"
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ledger.register_plan, other)
        until(lambda: way.swallowed > 0)
        way.cut()
        error = call.exception(30)
    assert isinstance(error, LedgerError)
    assert error.already_exists
    assert ledger.plan(taken.key).name == taken.name


def test_a_batch_of_which_a_part_is_stored_is_no_success(
    a: Member, way: Relay, ledger: ChannelLedger
) -> None:
    stored, new = r.new_data_sample(), r.new_data_sample()
    ledger.register_data_samples([stored])
    way.swallow = "up"
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ledger.register_data_samples, [new, stored])
        until(lambda: way.swallowed > 0)
        way.cut()
        error = call.exception(30)
    assert isinstance(error, LedgerError)
    assert error.already_exists
    with pytest.raises(LedgerError) as unknown:
        ledger.data_sample(new.key)
    assert unknown.value.code is grpc.StatusCode.NOT_FOUND


def test_without_a_lost_answer_a_repeated_key_stays_a_conflict(ledger: ChannelLedger) -> None:
    plan = r.new_plan()
    ledger.register_plan(plan)
    with pytest.raises(LedgerError, match="OE0006") as refusal:
        ledger.register_plan(plan)
    assert not refusal.value.repeated
