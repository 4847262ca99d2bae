"""Death at any point: restart, take-over, fence, lost connections (rules 7, 8)."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty

import grpc
import psycopg2
import pytest
from structlog.testing import capture_logs

from orchestrator import __main__ as command
from orchestrator import writer as writing
from orchestrator.database import SCHEMA, connect, is_current
from orchestrator.lease import LEASE_S, Lease
from orchestrator.schema import migrate, newest
from orchestrator.server import DRAIN_S, Server
from orchestrator.writer import Job, Outcome, Writer
from orchestrator.writing import Batch
from protos.orchestrator import computetask_pb2 as t
from tests.integration.orchestrator.member import Member
from tests.integration.orchestrator.process import CHANNELS, ledger
from tests.unit.orchestrator import requests as r

TAKE_OVER_S = 5.0
Connection = psycopg2.extensions.connection
Decide = Callable[[Writer, Job, Batch], Outcome]
Take = Callable[[Writer], list[Job]]


def test_sigterm_ends_streams_cleanly_at_once(database_url: str, tmp_path: Path) -> None:
    """Open streams are not waited for; what a busy machine takes for a process's end stays below that."""
    with ledger(database_url, tmp_path) as process, Member(process.address) as a:
        streams = [a.join().subscribe(), *(a.subscribe() for _ in range(4))]
        for stream in streams:
            assert next(stream).asset_key == "a"
        assert process.terminate(DRAIN_S - 1) == 0
        for stream in streams:
            assert list(stream) == []
            assert stream.code() is grpc.StatusCode.OK


def test_settings_that_cannot_be_used_end_the_process_with_their_reason(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORCHESTRATOR_DATABASE_URL", raising=False)
    monkeypatch.setattr(command, "_log", lambda: None)
    bad, none = tmp_path / "bad.yaml", tmp_path / "none.yaml"
    bad.write_text("channels: [a]")
    database = ["--database", database_url]
    with capture_logs() as logs:
        codes = [
            command.main(["--channels", str(bad)]),
            command.main(["--channels", str(bad), *database]),
            command.main(["--channels", str(none), *database]),
        ]
    assert codes == [2, 2, 2]
    reasons = [line["reason"] for line in logs]
    assert "ORCHESTRATOR_DATABASE_URL" in reasons[0]
    assert "no mapping" in reasons[1]
    assert "none.yaml" in reasons[2]


def test_unreachable_database_or_taken_port_is_said_in_one_line(
    server: Server, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_log", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    channels = tmp_path / "channels.yaml"
    channels.write_text(CHANNELS, encoding="utf-8")
    given = ["--channels", str(channels), "--database"]
    nowhere = "postgresql://nobody:secret-word@127.0.0.1:1/none"
    with capture_logs() as logs:
        codes = [
            command.main([*given, nowhere, "--listen", "127.0.0.1:0"]),
            command.main([*given, database_url, "--listen", server.address]),
        ]
    assert codes == [1, 1]
    reasons = [line["reason"] for line in logs if line["event"] == "ledger_not_started"]
    assert len(reasons) == 2
    assert "secret-word" not in str(logs)


def test_killed_ledger_goes_on_where_it_was(database_url: str, tmp_path: Path) -> None:
    with ledger(database_url, tmp_path) as process, Member(process.address) as a:
        a.join()
        plan, function = a.plan(), a.function()
        first = r.new_task(plan, function, worker="a")
        second = r.new_task(plan, function, r.parent(first.key), worker="a")
        a.register(first, second)
        a.act(first.key, t.TASK_ACTION_EXECUTING)
        before = a.events(8)
        process.kill()
    with ledger(database_url, tmp_path) as process, Member(process.address) as a:
        a.act(first.key, t.TASK_ACTION_DONE)  # waits for the lease of the dead one to end
        assert a.task(second.key).status == t.STATUS_WAITING_FOR_EXECUTOR_SLOT
        after = a.events(10)
        assert after[:8] == before
        assert [event.asset_key for event in after[8:]] == [first.key, second.key]


def test_second_server_takes_over_when_the_first_is_killed(
    database_url: str, tmp_path: Path
) -> None:
    channels = {"mychannel": ["a", "b"]}
    with ledger(database_url, tmp_path) as process, Member(process.address) as one:
        one.join()  # it leads from now on
        second = Server(database_url, channels)
        second.start()
        try:
            with Member(second.address) as two:
                stream = two.subscribe()
                assert next(stream).asset_key == "a"
                plan = one.plan()
                assert next(stream).asset_key == plan  # told by the other process
                process.kill()
                killed = time.monotonic()
                taken = two.plan()
                assert time.monotonic() - killed < TAKE_OVER_S
                assert next(stream).asset_key == taken
                stream.cancel()
        finally:
            second.stop()


def test_standby_answers_unavailable_and_takes_over_at_once_after_a_clean_stop(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.writer.PATIENCE_S", 0.3)
    channels = {"mychannel": ["a"]}
    first, second = Server(database_url, channels), Server(database_url, channels)
    first.start()
    with Member(first.address) as one:
        one.join()
        second.start()
        with Member(second.address) as two:
            with pytest.raises(grpc.RpcError) as refusal:
                two.plan()
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            first.stop()
            deadline = time.monotonic() + LEASE_S
            while True:
                try:
                    plan = two.plan()
                    break
                except grpc.RpcError:
                    assert time.monotonic() < deadline
            assert two.events(2)[-1].asset_key == plan
    second.stop()


def test_writer_that_lost_its_channel_cannot_commit(a: Member, database: Connection) -> None:
    plan = a.plan()
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE channel_head SET epoch = epoch + 1, holder = 'other',"
            " expires = clock_timestamp() + interval '1.5 s' WHERE channel = 'mychannel'"
        )
    try:
        a.plan()
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017
    with database.cursor() as cursor:
        cursor.execute("SELECT position, epoch FROM channel_head WHERE channel = 'mychannel'")
        position, epoch = cursor.fetchone() or (0, 0)
    assert (position, epoch) in [(3, 2), (4, 3)]  # refused, or carried out under the next epoch
    assert plan


def test_an_earlier_epoch_is_refused_by_the_database(server: Server, database_url: str) -> None:
    connection = connect(database_url, "test")
    with connection.cursor() as cursor:
        old, new = Lease("third", "x"), Lease("third", "x")
        assert old.acquire(cursor)
        assert new.acquire(cursor)
        assert not Lease("third", "y").acquire(cursor)
        assert not old.renew(cursor)
        with pytest.raises(psycopg2.Error) as fenced:
            cursor.execute("SELECT ledger_fence('third', %s, 5, interval '1 s')", (old.epoch,))
        assert fenced.value.pgcode == "SR001"
        new.release(cursor)
        assert Lease("third", "y").acquire(cursor)
    connection.close()


def _cut_connections(database: Connection, stop: threading.Event) -> None:
    """Whenever it has got on: a busy machine takes its time between two cuts."""
    reached = 0
    with database.cursor() as cursor:
        while not stop.wait(0.1):
            cursor.execute("SELECT count(*) FROM event")
            (events,) = cursor.fetchone() or (0,)
            if events == reached:
                continue
            reached = events
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
                " current_database() AND application_name LIKE 'ledger-%' AND pid <> pg_backend_pid()"
            )


def test_lost_database_connections_lose_no_call(a: Member, database: Connection) -> None:
    """Every connection of the ledger is cut again and again while it writes and reads."""
    stop = threading.Event()
    cutter = threading.Thread(target=_cut_connections, args=(database, stop))
    cutter.start()
    stream = a.subscribe()
    try:
        plans = [a.plan() for _ in range(200)]
    finally:
        stop.set()
        cutter.join()
    told = [next(stream).asset_key for _ in range(202)]
    stream.cancel()
    assert told[2:] == plans


def test_cut_stream_of_logs_says_what_happened(database_url: str, tmp_path: Path) -> None:
    with ledger(database_url, tmp_path, LOG_LEVEL="INFO") as process:
        led = {process.wait_for("channel_led")["channel"] for _ in range(2)}
        assert led == {"mychannel", "yourchannel"}
        assert process.terminate(DRAIN_S - 1) == 0
        assert process.wait_for("ledger_stopped")["address"] == process.address
        with pytest.raises(Empty):
            process.log.get(timeout=0.05)


def _slow(decide: Decide) -> Decide:
    """Large requests take longer than a lease."""

    def decide_slowly(writer: Writer, job: Job, batch: Batch) -> Outcome:
        if job.parts > 1:
            threading.Event().wait(LEASE_S + 1)
        return decide(writer, job, batch)

    return decide_slowly


def test_a_request_that_outlasts_the_lease_is_not_taken_over(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby waits for the longer lease that a large request takes."""
    first = Server(database_url, {"mychannel": ["a", "b"]})
    first.start()
    second = Server(database_url, {"mychannel": ["a", "b"]})
    second.start()
    monkeypatch.setattr(Writer, "_decide_one", _slow(Writer._decide_one))
    monkeypatch.setattr(writing, "PARTS_A_SECOND", 1)
    try:
        with Member(first.address) as a:
            plan, function = a.join().plan(), a.function()
            a.register(*(r.new_task(plan, function, worker="a") for _ in range(4)))
            assert a.plan()
    finally:
        first.stop()
        second.stop()


def test_servers_that_start_together_migrate_one_by_one(database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(migrate, database_url) for _ in range(4)]:
            done.result(60)
    connection = connect(database_url, "test")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM alembic_version")
        assert cursor.fetchone() == (1,)
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        assert cursor.fetchone() == (0,)
    connection.close()


def test_the_schema_is_brought_up_to_date_by_a_child(database_url: str, tmp_path: Path) -> None:
    assert not is_current(database_url)
    with ledger(database_url, tmp_path) as process:
        mapped = Path(f"/proc/{process.pid}/maps").read_text("utf-8")
        assert "psycopg2" in mapped
        assert "sqlalchemy" not in mapped
    assert is_current(database_url)
    assert newest() == SCHEMA


def test_a_database_of_a_newer_version_is_said_and_left_alone(
    server: Server, database_url: str, database: Connection
) -> None:
    with database.cursor() as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = 'of-next-year'")
        with pytest.raises(RuntimeError, match=r"another version: .*of-next-year"):
            Server(database_url, {"mychannel": ["a"]}).start()
        child = subprocess.run(
            [sys.executable, "-m", "orchestrator.schema"],
            env=os.environ | {"ORCHESTRATOR_DATABASE_URL": database_url},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        cursor.execute("SELECT version_num FROM alembic_version")
        assert cursor.fetchall() == [("of-next-year",)]
    assert child.returncode == 1
    assert "of-next-year" in child.stderr
    assert "Traceback" not in child.stderr


def _failing(take: Take, faults: list[Exception]) -> Take:
    """Raises each of the faults once."""

    def take_or_fail(writer: Writer) -> list[Job]:
        if faults:
            raise faults.pop()
        return take(writer)

    return take_or_fail


def test_a_fault_of_ours_does_not_end_the_writer(
    server: Server, a: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [ZeroDivisionError(), RuntimeError()]
    monkeypatch.setattr(Writer, "_group", _failing(Writer._group, faults))
    assert a.plan()
    assert faults == []
    assert len(a.events(3)) == 3


@pytest.mark.parametrize(("ahead", "follows"), [("30 seconds", True), ("1 day", False)])
def test_dates_go_on_after_those_of_a_writer_whose_clock_was_a_bit_ahead(
    database_url: str, database: Connection, ahead: str, follows: bool
) -> None:
    """A clock that was a day ahead was wrong: its dates are no measure."""
    channels = {"mychannel": ["a"]}
    server = Server(database_url, channels)
    server.start()
    with Member(server.address) as a:
        a.join().plan()
    server.stop()
    with database.cursor() as cursor:
        cursor.execute("UPDATE event SET moment = now() + %s::interval", (ahead,))
    server = Server(database_url, channels)
    server.start()
    try:
        with Member(server.address) as a:
            a.plan()
            dates = [event.timestamp.ToDatetime() for event in a.events(3)]
    finally:
        server.stop()
    assert (dates[2] >= dates[1]) is follows
