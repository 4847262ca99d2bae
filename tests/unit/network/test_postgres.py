"""The bundled PostgreSQL: private, repaired silently, refused when nothing can serve its data."""

import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from network import unprivileged
from network.ports import free_port
from network.postgres import Postgres, temporary_server
from network.postgres_binaries import PostgresUnavailable


@contextmanager
def running(server: Postgres) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        server.command(), cwd=server.folder, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        server.wait_ready()
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@pytest.fixture
def server(tmp_path: Path) -> Postgres:
    made = Postgres(tmp_path / "postgres", tmp_path / "s", free_port(), durable=False)
    made.initialise()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_temporary_server_answers_and_leaves_nothing(tmp_path: Path) -> None:
    with temporary_server(tmp_path) as address:
        connection = psycopg2.connect(f"{address}/postgres")
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version_num")
            row = cursor.fetchone()
        connection.close()
    assert row is not None
    assert int(row[0]) >= 180000
    assert list(tmp_path.iterdir()) == []


def test_password_is_needed_and_private(server: Postgres) -> None:
    assert mode(server.password_file) == 0o600
    assert mode(server.folder) == 0o700
    with running(server):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(server.url("postgres", password="wrong"))
        hba = (server.data / "pg_hba.conf").read_text()
    methods = {
        line.split()[-1] for line in hba.splitlines() if line.strip() and not line.startswith("#")
    }
    assert methods == {"scram-sha-256"}


def test_a_database_is_closed_to_other_owners(server: Postgres) -> None:
    with running(server):
        server.ensure_database("one", "one", "secret-1")
        server.ensure_database("two", "two", "secret-2")
        server.ensure_database("one", "one", "secret-3")  # again, with a new password
        psycopg2.connect(server.url("one", "one", "secret-3")).close()
        with pytest.raises(psycopg2.OperationalError, match="permission denied"):
            psycopg2.connect(server.url("one", "two", "secret-2"))


def answers(address: str, *statements: str) -> list[tuple[Any, ...]]:
    """The rows of the last of some statements that are carried out in one durable transaction."""
    with (
        closing(psycopg2.connect(address)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        for statement in ("SET synchronous_commit = on", *statements):
            cursor.execute(statement)
        return cursor.fetchall()


def test_data_survive_sigkill_and_a_foreign_pid_in_the_lock_file(server: Postgres) -> None:
    with running(server) as process:
        server.ensure_database("kept", "kept", "secret")
        kept = server.url("kept", "kept", "secret")
        assert answers(kept, "CREATE TABLE fact AS SELECT 7 AS n", "TABLE fact") == [(7,)]
        process.kill()
        process.wait(10)
    lock = server.data / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lines[0] = "1"  # a living process that is no PostgreSQL
    lock.write_text("\n".join(lines) + "\n")
    server.initialise()
    with running(server):
        assert answers(kept, "TABLE fact") == [(7,)]


def test_initialise_ends_a_server_that_outlived_its_supervisor(server: Postgres) -> None:
    left = subprocess.Popen(server.command(), cwd=server.folder, stderr=subprocess.DEVNULL)
    server.wait_ready()
    server.initialise()
    assert left.wait(10) is not None
    with running(server):
        psycopg2.connect(server.url("postgres")).close()


def test_half_made_data_folder_is_made_again(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "postgres", None, free_port(), durable=False)
    server.data.mkdir(parents=True)
    (server.data / "base").mkdir()
    server.initialise()
    with running(server):
        assert answers(server.url("postgres"), "SELECT current_database()") == [("postgres",)]


def test_unknown_major_is_refused_with_the_way_out(server: Postgres) -> None:
    (server.data / "PG_VERSION").write_text("19\n")
    with pytest.raises(PostgresUnavailable, match="pg_dumpall"):
        server.command()


def test_server_does_not_run_as_root(server: Postgres) -> None:
    with running(server) as process:
        status = Path(f"/proc/{process.pid}/status").read_text()
        namespace = Path(f"/proc/{process.pid}/ns/user").readlink()
    uid = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1]
    assert uid != "0" or namespace != Path("/proc/self/ns/user").readlink()


WAYS = ["direct"] if os.geteuid() else ["nobody"]


@pytest.mark.parametrize("way", WAYS)
def test_server_works_without_user_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: unprivileged.Way
) -> None:
    foreign = Path(tempfile.mkdtemp(prefix="sr-test-"))
    monkeypatch.setattr(unprivileged, "way", lambda: way)
    monkeypatch.setattr("network.postgres.FOREIGN_ROOT", foreign)
    try:
        server = Postgres(tmp_path / "postgres", tmp_path / "s", free_port(), durable=False)
        server.initialise()
        with running(server) as process:
            server.ensure_database("kept", "kept", "secret")
            owner = Path(f"/proc/{process.pid}").stat().st_uid
    finally:
        shutil.rmtree(foreign)
    assert owner == (os.geteuid() or unprivileged.nobody()[0])
