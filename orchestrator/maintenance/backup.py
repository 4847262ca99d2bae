"""A whole ledger in one file, and back.

The file is a ZIP archive: one member a table in PostgreSQL's own COPY text, and `manifest.json`, written last,
with the schema's revision, and rows and SHA-256 of every member. All tables are read in one snapshot, so that
writing may go on. A restore checks everything first, fills an empty ledger in one transaction, then brings the
schema up to date.
"""

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from orchestrator.database import connect
from orchestrator.maintenance.tables import EVERY
from orchestrator.schema import knows_revision, migrate

FORMAT = "substra-ray ledger"
VERSION = 1
MANIFEST = "manifest.json"
BLOCK = 1024 * 1024


class BackupError(RuntimeError):
    """The backup or restore cannot be done; nothing was changed. The text says why."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a file holds."""

    rows: int
    channels: dict[str, int]


# ------------------------------------------------------------------ backup
def backup(url: str, path: Path) -> Summary:
    """Write the ledger into a new file, readable by its owner only.

    Raises:
        BackupError: the file exists, or the database holds no ledger.
        OSError, psycopg2.Error
    """
    if path.exists():
        raise BackupError(f"{path} exists already; it is not overwritten")
    if not path.parent.is_dir():
        raise BackupError(f"there is no folder {path.parent}")
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        with (
            os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            _snapshot(url) as cursor,
        ):
            summary = _write(cursor, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)  # unlike a rename, never over an existing file
        except FileExistsError:
            raise BackupError(f"{path} exists already; it is not overwritten") from None
    finally:
        part.unlink(missing_ok=True)
    return summary


@contextlib.contextmanager
def _snapshot(url: str) -> Iterator[Cursor]:
    connection = connect(url, "backup")
    try:
        connection.autocommit = False
        connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def _write(cursor: Cursor, file: IO[bytes]) -> Summary:
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "schema": _revision(cursor),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "channels": _channels(cursor),
        "tables": {},
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for table in EVERY:
            columns = _columns(cursor, table)
            with archive.open(_member(table), "w", force_zip64=True) as member:
                counted = _Counted(member)
                names = ", ".join(columns)
                cursor.copy_expert(f"COPY {table} ({names}) TO STDOUT", counted)
            manifest["tables"][table] = {
                "columns": columns,
                "rows": counted.lines,
                "sha256": counted.digest.hexdigest(),
            }
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
    return _summary(manifest)


class _Counted:
    """Passes bytes on, and knows their digest and number of lines (a row is a line in COPY's text)."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.lines = 0

    def write(self, content: bytes | str) -> int:
        data = content.encode() if isinstance(content, str) else content
        self.digest.update(data)
        self.lines += data.count(b"\n")
        return self._file.write(data)


def _revision(cursor: Cursor) -> str:
    try:
        cursor.execute("SELECT version_num FROM alembic_version")
        (revision,) = cursor.fetchone() or ("",)
        cursor.execute("SELECT FROM channel_head LIMIT 0")
    except psycopg2.errors.UndefinedTable:
        raise BackupError("the database holds no ledger") from None
    return str(revision)


def _channels(cursor: Cursor) -> dict[str, int]:
    cursor.execute("SELECT channel, position FROM channel_head ORDER BY channel")
    return {channel: int(position) for channel, position in cursor.fetchall()}


def _columns(cursor: Cursor, table: str) -> list[str]:
    cursor.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND NOT attisdropped ORDER BY attnum",
        (table,),
    )
    return [name for (name,) in cursor.fetchall()]


def _member(table: str) -> str:
    return f"tables/{table}.copy"


def _summary(manifest: dict[str, Any]) -> Summary:
    rows = sum(table["rows"] for table in manifest["tables"].values())
    return Summary(rows, dict(manifest["channels"]))


# ------------------------------------------------------------------ restore
def examine(path: Path) -> None:
    """Read a backup from end to end, before a database is made for it.

    Raises:
        BackupError: the file is damaged, of a newer version, or no backup.
        OSError
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _usable(archive, path)
    except zipfile.BadZipFile:
        raise _unusable(path) from None


def _usable(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """The manifest of a whole file that this version can read."""
    manifest = _checked(archive, path)
    if not knows_revision(manifest["schema"]):
        raise BackupError(f"{path} was written by a newer version (schema {manifest['schema']})")
    return manifest


def _unusable(path: Path) -> BackupError:
    return BackupError(f"{path} is damaged, or no backup of a ledger")


def restore(url: str, path: Path) -> Summary:
    """Fill an empty ledger from a file; the database may be quite empty too.

    Raises:
        BackupError: the file is damaged or no backup, or the ledger is not empty.
        OSError, psycopg2.Error
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _usable(archive, path)
            _refuse_other_content(url)
            migrate(url, manifest["schema"])
            _fill(url, archive, manifest)
    except zipfile.BadZipFile:
        raise _unusable(path) from None
    migrate(url)
    return _summary(manifest)


UNREADABLE = (
    KeyError,
    TypeError,
    ValueError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    zlib.error,
)
"""What reading a damaged archive raises beside `BadZipFile`."""


def _checked(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """The manifest, once every member was read and is what the manifest says."""
    try:
        manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
        if manifest["format"] != FORMAT or manifest["version"] != VERSION:
            raise BackupError(f"{path} is of another format")
        for table in EVERY:
            said = manifest["tables"][table]
            digest = hashlib.sha256()
            with archive.open(_member(table)) as member:
                while block := member.read(BLOCK):
                    digest.update(block)
            if digest.hexdigest() != said["sha256"]:
                raise BackupError(f"{path} is damaged: table {table} has another checksum")
    except UNREADABLE as error:
        raise BackupError(f"{path} is damaged, or no backup of a ledger: {error!r}") from None
    return manifest


def _refuse_other_content(url: str) -> None:
    """Before the schema is touched: a ledger with rows, or of another revision that cannot go back."""
    with _snapshot(url) as cursor:
        cursor.execute("SELECT to_regclass('channel_head')")
        if cursor.fetchone() != (None,):
            _refuse_rows(cursor)


def _refuse_rows(cursor: Cursor) -> None:
    for table in EVERY:
        if table != "channel_head":  # a running ledger has its place there before its first event
            cursor.execute(f"SELECT FROM {table} LIMIT 1")
            if cursor.rowcount:
                raise BackupError(
                    "the ledger in this database is not empty; restore into a new one"
                )


def _fill(url: str, archive: zipfile.ZipFile, manifest: dict[str, Any]) -> None:
    """All tables in one transaction; a server that leads an empty ledger there loses its channels."""
    connection = connect(url, "restore")
    try:
        connection.autocommit = False
        with connection.cursor() as cursor:
            if _revision(cursor) != manifest["schema"]:
                raise BackupError(
                    "the empty ledger is of another version; restore into a new database"
                )
            cursor.execute(f"LOCK TABLE {', '.join(EVERY)} IN ACCESS EXCLUSIVE MODE")
            _refuse_rows(cursor)
            cursor.execute("SELECT coalesce(max(epoch), 0) FROM channel_head")
            (epoch,) = cursor.fetchone() or (0,)
            cursor.execute("DELETE FROM channel_head")
            for table in EVERY:
                said = manifest["tables"][table]
                if said["columns"] != _columns(cursor, table):
                    raise BackupError(f"table {table} has other columns than the backup")
                with archive.open(_member(table)) as member:
                    names = ", ".join(said["columns"])
                    cursor.copy_expert(f"COPY {table} ({names}) FROM STDIN", member)
                if cursor.rowcount != said["rows"]:
                    raise BackupError(
                        f"table {table} took {cursor.rowcount} of {said['rows']} rows"
                    )
            cursor.execute(
                "UPDATE channel_head SET epoch = greatest(epoch, %s) + 1, holder = '',"
                " expires = '-infinity'",
                (epoch,),
            )
        connection.commit()
    finally:
        connection.close()
