"""What `substra-ray orchestrator` does: find the database, hand over to the ledger, say what came out."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psycopg2
import typer

from network.bare_ledger import BareLedger, LedgerStateError, ledger_database
from network.layout import Layout, UnusableFolder
from network.postgres_binaries import PostgresUnavailable
from network.state import State, UnusableState
from orchestrator.__main__ import main, prepare
from orchestrator.database import URL_WANTED, is_url
from orchestrator.maintenance.backup import BackupError, examine
from orchestrator.maintenance.backup import backup as write
from orchestrator.maintenance.backup import restore as fill
from orchestrator.maintenance.replay import replay as compare

REFUSALS = (
    *(LedgerStateError, UnusableFolder, UnusableState, PostgresUnavailable, BackupError),
    *(OSError, RuntimeError, psycopg2.Error),
)
CANNOT, DIFFERS = 2, 1
SHOWN = 100
DATABASE = "ORCHESTRATOR_DATABASE_URL"


# ------------------------------------------------------------------ serving
def serve(
    *,
    channels: Path | None,
    listen: str | None,
    database: str | None,
    state: Path | None,
    metrics: str | None,
) -> NoReturn:
    """The ledger in this process until a signal; without a database URL, its PostgreSQL beside it."""
    channels = channels or _from_environment("ORCHESTRATOR_CHANNEL_CONFIG")
    if channels is None:
        _refuse("Give the channel file: --channels FILE (or ORCHESTRATOR_CHANNEL_CONFIG).")
    listen = listen or os.environ.get("ORCHESTRATOR_LISTEN", "127.0.0.1:9000")
    arguments = ["--channels", str(channels), "--listen", listen]
    if metrics:
        arguments += ["--metrics", metrics]
    # Before a database is started for nothing.
    made = prepare([*arguments, "--database", "postgresql://"])
    if isinstance(made, str):
        _refuse(made)
    with _clear_messages():
        made.check_addresses()
        url = _url(database, state)
        if url is not None:
            raise typer.Exit(main([*arguments, "--database", url]))
        assert state is not None
        raise typer.Exit(_serve_with_postgres(state, arguments))


def _serve_with_postgres(state: Path, arguments: list[str]) -> int:
    ledger = BareLedger(state)
    signal.signal(signal.SIGTERM, _ended)  # until the ledger takes the signals itself
    try:
        with ledger.serving() as url:
            code = main([*arguments, "--database", url])
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(
                    number, signal.SIG_IGN
                )  # the server is ending; it must not be left behind
            return code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _ended(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


# ------------------------------------------------------------------ a whole ledger
def backup(file: Path, database: str | None, state: Path | None) -> None:
    with _clear_messages(), _database(database, state) as url:
        summary = write(url, file)
    _say(f"{summary.rows} rows of {_channels(summary.channels)} in {file}.")


def restore(file: Path, database: str | None, state: Path | None) -> None:
    if not file.is_file():
        _refuse(f"There is no file {file}.", 1)
    with _clear_messages():
        examine(file)
    with _clear_messages(), _new_database(database, state) as url:
        summary = fill(url, file)
    _say(f"{summary.rows} rows of {_channels(summary.channels)} restored.")


def replay(database: str | None, state: Path | None) -> None:
    try:
        with _clear_messages(), _database(database, state) as url:
            report = compare(url)
    except typer.Exit:
        raise typer.Exit(CANNOT) from None
    for line in report.differences[:SHOWN]:
        _say(line)
    if len(report.differences) > SHOWN:
        _say(f"… and {len(report.differences) - SHOWN} more")
    _say(f"{report.events} events of {_channels(report.channels)}, {report.rows} rows compared:")
    if report.differences:
        _say(f"{len(report.differences)} differences.")
        raise typer.Exit(DIFFERS)
    _say("the events rebuild the tables.")


def _channels(channels: dict[str, int]) -> str:
    return ", ".join(channels) if channels else "no channel"


# ------------------------------------------------------------------ where the ledger is
def _url(database: str | None, state: Path | None) -> str | None:
    """The database's URL; None for a state folder. The command line wins over the environment."""
    if database and state:
        _refuse("Give --database or --state, not both.")
    if state is not None:
        return None
    database = database or os.environ.get(DATABASE)
    if not database:
        _refuse(f"Give --database URL (or {DATABASE}), or --state FOLDER.")
    if not is_url(database):
        _refuse(f"--database ({DATABASE}): {URL_WANTED}.")
    return database


@contextmanager
def _database(database: str | None, state: Path | None) -> Iterator[str]:
    """The URL of a ledger that is there."""
    url = _url(database, state)
    if url is not None:
        yield url
        return
    assert state is not None
    with ledger_database(state) as found:
        yield found


@contextmanager
def _new_database(database: str | None, state: Path | None) -> Iterator[str]:
    """The URL of a ledger that may be new: a state folder is made."""
    if database is None and state is not None and State.load(Layout.at(state)) is None:
        ledger = BareLedger(state)
        if not ledger.exists:
            with ledger.serving() as url:
                yield url
            return
    with _database(database, state) as url:
        yield url


# ------------------------------------------------------------------ words
@contextmanager
def _clear_messages() -> Iterator[None]:
    """A refusal is one message and exit status 1, no traceback."""
    try:
        yield
    except typer.Exit:
        raise
    except psycopg2.errors.UndefinedTable:
        _refuse("The database holds no ledger.", 1)
    except REFUSALS as error:
        if isinstance(error, OSError) and error.filename:
            _refuse(f"{error.filename}: {error.strerror}", 1)
        _refuse(str(error).strip(), 1)


def _from_environment(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value) if value else None


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _refuse(text: str, code: int = 2) -> NoReturn:
    sys.stderr.write(text + "\n")
    raise typer.Exit(code)
