"""Metrics, request ids, draining, pings (orchestrator.md 2.5, 12.3, 12.4)."""

import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psycopg2
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import ValidationError

from orchestrator.server import Options, Server
from orchestrator.settings import Settings
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.info_pb2 import QueryVersionParam
from tests.integration.orchestrator.member import Member
from tests.integration.orchestrator.process import ledger
from tests.integration.orchestrator.waiting import until
from tests.unit.orchestrator import requests as r

CHANNEL = {"mychannel": ["a", "b"]}


@pytest.fixture
def measured(database_url: str) -> Iterator[Server]:
    server = Server(database_url, CHANNEL, options=Options(metrics_listen="127.0.0.1:0"))
    server.start()
    yield server
    server.stop()


def _metrics(server: Server) -> dict[str, float]:
    """`name{label="value"}` to its number."""
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_have_the_names_of_the_original(measured: Server) -> None:
    with Member(measured.address, "a") as a:
        plan, function = a.join().plan(), a.function(build=False)
        tasks = [r.new_task(plan, function, worker="a") for _ in range(7)]
        a.register(*tasks)
        a.build(function, f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)
        a.act(tasks[0].key, t.TASK_ACTION_EXECUTING, t.TASK_ACTION_DONE)
        with pytest.raises(grpc.RpcError):
            a.act(tasks[0].key, t.TASK_ACTION_DONE)
        a.events(5)
        channel = 'channel="mychannel"'
        apply = 'grpc_method="ApplyTaskAction",grpc_service="orchestrator.ComputeTaskService"'
        act = f'{apply},grpc_type="unary"'
        method = 'method="ComputeTaskService/ApplyTaskAction"'
        expected = {
            f"orc_task_registered_total{{{channel}}}": 7,
            f'orc_task_registration_batch_size_bucket{{{channel},le="5.0"}}': 0,
            f'orc_task_registration_batch_size_bucket{{{channel},le="10.0"}}': 1,
            f'orc_task_updated_total{{{channel},status="STATUS_BUILDING"}}': 7,
            f'orc_task_updated_total{{{channel},status="STATUS_DONE"}}': 1,
            f'orc_task_update_cascade_size_sum{{{channel},status="transitionBuilding"}}': 7,
            f'orc_task_update_cascade_size_count{{{channel},status="transitionBuilding"}}': 1,
            f'orc_db_transaction_total{{{method},outcome="commit"}}': 2,
            f'orc_db_transaction_total{{{method},outcome="rollback"}}': 1,
            f"grpc_server_started_total{{{act}}}": 3,
            f'grpc_server_handled_total{{grpc_code="OK",{act}}}': 2,
            f'grpc_server_handled_total{{grpc_code="FailedPrecondition",{act}}}': 1,
            f"grpc_server_handling_seconds_count{{{act}}}": 3,
            f"orc_writer_leads{{{channel}}}": 1,
            f"orc_writer_waiting_requests{{{channel}}}": 0,
        }
        until(lambda: expected.items() <= _metrics(measured).items())
        assert _metrics(measured)["orc_event_sent_total"] >= 5


def test_the_log_names_a_refused_call_by_the_callers_request_id(
    database_url: str, tmp_path: Path
) -> None:
    with ledger(database_url, tmp_path) as process, Member(process.address) as a:
        for given in ((("reqid", "abc123"),), ()):
            with pytest.raises(grpc.RpcError):
                a.call(
                    "FunctionService/GetFunction",
                    f.GetFunctionParam(key=r.key()),
                    metadata=(*a.metadata, *given),
                )
        first, second = process.wait_for("refused"), process.wait_for("refused")
    assert first["reqid"] == "abc123"
    assert first["method"] == "FunctionService/GetFunction"
    assert first["status"] == "NOT_FOUND"
    assert len(second["reqid"]) == 8


def test_a_fault_while_storing_is_logged_with_its_request_id(
    database_url: str, tmp_path: Path
) -> None:
    with ledger(database_url, tmp_path) as process, Member(process.address) as a:
        a.join()
        connection = psycopg2.connect(database_url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE compute_plan ADD CHECK (false) NOT VALID")
        connection.close()
        metadata = (*a.metadata, ("reqid", "poison"))
        with pytest.raises(grpc.RpcError) as refusal:
            a.call("ComputePlanService/RegisterPlan", r.new_plan(), metadata=metadata)
        line = process.wait_for("request_failed")
    assert refusal.value.code() is grpc.StatusCode.INTERNAL
    assert line["reqid"] == "poison"
    assert line["method"] == "ComputePlanService/RegisterPlan"


def test_calls_under_way_are_answered_before_the_ledger_ends(
    database_url: str, tmp_path: Path
) -> None:
    """SIGTERM while a commit waits: health says so, new calls are refused, the waiting one is carried out."""
    with ledger(database_url, tmp_path) as process, Member(process.address) as a:
        a.join()
        health = health_pb2_grpc.HealthStub(a.channel)
        watched = health.Watch(health_pb2.HealthCheckRequest(), metadata=a.metadata)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        connection = psycopg2.connect(database_url)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM channel_head WHERE channel = 'mychannel' FOR UPDATE")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(a.plan)
            until(lambda: _waits(database_url))
            ending = threading.Thread(target=process.terminate, args=(15.0,))
            ending.start()
            statuses = []
            with pytest.raises(grpc.RpcError):
                statuses.extend(watched)
            assert health_pb2.HealthCheckResponse.NOT_SERVING in [s.status for s in statuses]
            with Member(process.address) as late, pytest.raises(grpc.RpcError) as refusal:
                late.call("InfoService/QueryVersion", QueryVersionParam())
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            connection.rollback()
            assert waiting.result(20)
        ending.join()
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM compute_plan")
            assert cursor.fetchone() == (1,)
        connection.close()


def _waits(database_url: str) -> bool:
    connection = psycopg2.connect(database_url)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'ledger-write' AND wait_event_type = 'Lock'"
        )
        (count,) = cursor.fetchone() or (0,)
    connection.close()
    return bool(count)


def test_a_client_that_pings_too_often_is_sent_away(database_url: str) -> None:
    """A ping interval below the allowed one: GOAWAY too_many_pings, and the stream ends."""
    server = Server(database_url, CHANNEL, options=Options(ping_interval_s=60))
    server.start()
    options = [
        ("grpc.keepalive_time_ms", 1_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    try:
        with Member(server.address) as a:
            a.channel.close()
            a.channel = grpc.insecure_channel(server.address, options=options)
            stream = a.join().subscribe()
            assert next(stream).asset_key == "a"
            began = time.monotonic()
            with pytest.raises(grpc.RpcError) as refusal:
                next(stream)
            assert "too_many_pings" in str(refusal.value.details()).lower() or (
                refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            )
            assert time.monotonic() - began < 15
    finally:
        server.stop()


# ------------------------------------------------------------------ settings
REQUIRED: dict[str, Any] = {
    "DATABASE_URL": "postgresql://x",
    "CHANNEL_CONFIG": Path("channels.yaml"),
}


@pytest.mark.parametrize(
    ("given", "seconds"), [("30s", 30), ("500ms", 0.5), ("1m30s", 90), ("2h", 7_200)]
)
def test_durations_are_read_as_the_original_writes_them(
    monkeypatch: pytest.MonkeyPatch, given: str, seconds: float
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_GRPC_KEEPALIVE_POLICY_MIN_TIME", given)
    assert seconds == Settings(**REQUIRED).GRPC_KEEPALIVE_POLICY_MIN_TIME


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"ORCHESTRATOR_TLS_ENABLED": "true"}, "ORCHESTRATOR_TLS_CERT_PATH"),
        ({"ORCHESTRATOR_MTLS_ENABLED": "true"}, "needs ORCHESTRATOR_TLS_ENABLED"),
        (
            {
                "ORCHESTRATOR_TLS_ENABLED": "true",
                "ORCHESTRATOR_MTLS_ENABLED": "true",
                "ORCHESTRATOR_TLS_CERT_PATH": "c",
                "ORCHESTRATOR_TLS_KEY_PATH": "k",
            },
            "ORCHESTRATOR_TLS_SERVER_CA_CERT, ORCHESTRATOR_TLS_CLIENT_CA_CERT_DIR",
        ),
        ({"ORCHESTRATOR_VERIFY_CLIENT_MSP_ID": "true"}, "needs ORCHESTRATOR_MTLS_ENABLED"),
        ({"ORCHESTRATOR_GRPC_KEEPALIVE_POLICY_MIN_TIME": "soon"}, "a duration such as"),
        ({"ORCHESTRATOR_REPLAY_EVENTS_BATCH_SIZE": "0"}, "greater than or equal to 1"),
        ({"ORCHESTRATOR_LISTEN": "nine"}, "an address such as"),
        ({"ORCHESTRATOR_LISTEN": "127.0.0.1:65536"}, "an address such as"),
    ],
)
def test_variables_that_do_not_go_together_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], reason: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=reason):
        Settings(**REQUIRED)
