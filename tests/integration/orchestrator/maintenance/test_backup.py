"""A ledger in one file, and back."""

import json
import stat
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psycopg2
import pytest

from orchestrator.maintenance.backup import BackupError, backup, restore
from orchestrator.maintenance.replay import replay
from orchestrator.maintenance.tables import EVERY, ROWS
from orchestrator.server import Server
from protos.orchestrator import computetask_pb2 as t
from tests.integration.conftest import new_database
from tests.integration.orchestrator.maintenance.conftest import CHANNELS
from tests.integration.orchestrator.member import Member
from tests.unit.orchestrator import requests as r


def _content(url: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows; of the lease only the position."""
    found = {}
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        for table in ("event", *ROWS):
            cursor.execute(f"SELECT md5(t::text) FROM {table} t ORDER BY 1")
            found[table] = cursor.fetchall()
        cursor.execute("SELECT channel, position FROM channel_head ORDER BY 1")
        found["channel_head"] = cursor.fetchall()
    connection.close()
    return found


def test_what_was_backed_up_is_restored_and_goes_on(
    url: str, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.zip"
    written = backup(url, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.zip"]
    assert restore(database_url, file) == written
    assert _content(database_url) == _content(url)
    assert replay(database_url).differences == []
    with _serving(database_url) as server, Member(server.address, "a") as a:
        plan = a.plan()
        assert a.events(written.channels["mychannel"] + 1)[-1].asset_key == plan


@contextmanager
def _serving(url: str) -> Iterator[Server]:
    """A server on a database for a while."""
    server = Server(url, CHANNELS)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_a_backup_is_consistent_while_writing_goes_on(
    url: str, postgres: str, tmp_path: Path
) -> None:
    stop = threading.Event()
    written = threading.Event()

    with _serving(url) as server, Member(server.address, "a") as a:
        writer = threading.Thread(target=_write, args=(a, stop, written))
        writer.start()
        try:
            assert written.wait(20)
            for number in range(3):
                file = tmp_path / f"{number}.zip"
                summary = backup(url, file)
                with new_database(postgres) as other:
                    assert restore(other, file) == summary
                    report = replay(other)
                    assert report.differences == []
                    assert report.channels == summary.channels
        finally:
            stop.set()
            writer.join()


def _write(a: Member, stop: threading.Event, written: threading.Event) -> None:
    while not stop.is_set():
        a.register(*_chain(a))
        written.set()


def _chain(a: Member) -> list[t.NewComputeTask]:
    plan, function = a.plan(), a.function(build=False)
    first = r.new_task(plan, function, worker="a")
    return [first, r.new_task(plan, function, r.parent(first.key), worker="a")]


def test_an_existing_file_is_not_overwritten(url: str, tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("thesis")
    with pytest.raises(BackupError, match="precious exists already"):
        backup(url, file)
    assert file.read_text() == "thesis"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=f"there is no folder {tmp_path / 'new'}"):
        backup(url, tmp_path / "new" / "ledger.zip")


def test_a_ledger_that_is_not_empty_is_not_overwritten(url: str, tmp_path: Path) -> None:
    file = tmp_path / "ledger.zip"
    backup(url, file)
    before = _content(url)
    with pytest.raises(BackupError, match="not empty"):
        restore(url, file)
    assert _content(url) == before


def test_a_server_that_runs_on_the_empty_ledger_loses_its_lease_and_goes_on(
    url: str, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.zip"
    with _serving(database_url) as server, Member(server.address, "a") as a:
        summary = backup(url, file)
        restore(database_url, file)
        plan = _plan_of_the_next_epoch(a)
        assert a.events(summary.channels["mychannel"] + 1)[-1].asset_key == plan
    assert replay(database_url).differences == []


def _plan_of_the_next_epoch(a: Member) -> str:
    """The writer hears of its loss by a fenced commit, or earlier, by its next sign of life."""
    try:
        return a.plan()
    except grpc.RpcError as refusal:
        if refusal.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return a.plan()


def test_a_database_without_ledger_is_not_backed_up(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="holds no ledger"):
        backup(database_url, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def _rewritten(source: Path, target: Path, change: dict[str, bytes | None]) -> Path:
    """A copy of an archive with some members replaced, or left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change.get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def _manifest(file: Path, **change: object) -> bytes:
    with zipfile.ZipFile(file) as archive:
        return json.dumps(json.loads(archive.read("manifest.json")) | change).encode()


def _tables(file: Path, table: str, **change: object) -> bytes:
    with zipfile.ZipFile(file) as archive:
        tables = json.loads(archive.read("manifest.json"))["tables"]
    tables[table] |= change
    return _manifest(file, tables=tables)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("bytes", "damaged, or no backup"),
        ("cut", "damaged, or no backup"),
        ("flip", "damaged"),
        ("member", "table compute_task has another checksum"),
        ("missing", "damaged, or no backup"),
        ("format", "another format"),
        ("newer", "newer version"),
        ("columns", "other columns"),
        ("rows", "took"),
    ],
)
def test_a_damaged_file_changes_nothing(
    url: str, database_url: str, tmp_path: Path, damage: str, reason: str
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    backup(url, good)
    content = good.read_bytes()
    if damage == "bytes":
        bad.write_bytes(b"no archive")
    elif damage == "cut":
        bad.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        middle = len(content) // 2
        bad.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        changes: dict[str, dict[str, bytes | None]] = {
            "member": {"tables/compute_task.copy": b"x\n"},
            "missing": {"tables/event.copy": None},
            "format": {"manifest.json": _manifest(good, format="other")},
            "newer": {"manifest.json": _manifest(good, schema="9999")},
            "columns": {"manifest.json": _tables(good, "event", columns=["id) FROM x; --"])},
            "rows": {"manifest.json": _tables(good, "event", rows=1)},
        }
        _rewritten(good, bad, changes[damage])
    with pytest.raises(BackupError, match=reason):
        restore(database_url, bad)
    assert not any(rows for rows in _existing(database_url).values())
    restore(database_url, good)
    assert _content(database_url) == _content(url)


def test_whichever_byte_is_damaged_it_is_said_in_our_words(
    url: str, database_url: str, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    backup(url, good)
    content = good.read_bytes()
    places = range(0, len(content), max(1, len(content) // 150))
    refused = 0
    for place in places:
        bad.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:  # what is in no checksum, a date for instance, may pass
            restore(database_url, bad)
        except BackupError:
            refused += 1
    assert refused > 0.9 * len(places)


def _existing(url: str) -> dict[str, int]:
    """Rows of the ledger's tables, where there are any yet."""
    connection = psycopg2.connect(url)
    counts = {}
    with connection.cursor() as cursor:
        for table in EVERY:
            cursor.execute("SELECT to_regclass(%s)", (table,))
            if cursor.fetchone() != (None,):
                cursor.execute(f"SELECT count(*) FROM {table}")
                (counts[table],) = cursor.fetchone() or (0,)
    connection.close()
    return counts
