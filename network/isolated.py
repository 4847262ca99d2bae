"""One organization's API alone, for front-end developers: a database and sample data, no ledger and no Ray.

Settings come from the environment, as everywhere; what it does not say is that of the embedded network's first
organization. Without a database address the bundled PostgreSQL runs below the state folder, for as long as the
command does.
"""

import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.settings import ChannelSettings, Settings, UserSettings
from network.ports import free_port
from network.postgres import Postgres
from network.private_files import private_folder, read_or_create_secret

CHANNEL = "mychannel"
DATABASE, OWNER = "backend", "backend"
USERS = (
    UserSettings(username="org-1", password="p@sswr0d44", channel=CHANNEL),  # noqa: S106  as everywhere
    UserSettings(username="reader", password="p@sswr0d44", channel=CHANNEL, role="USER"),  # noqa: S106
)
STOP_S = 10.0


class FolderInUse(RuntimeError):
    """Another `serve` or `fixtures` works on this state folder; the text says the way out."""


@contextmanager
def isolated(state: Path, *, port: int) -> Iterator[Settings]:
    """Settings of an API on `port` whose database answers, until the block ends.

    Raises:
        FolderInUse: the bundled server runs for another command already.
        PostgresUnavailable, TimeoutError: the bundled server is not there, or does not start.
    """
    folder = private_folder(state.expanduser().absolute() / "isolated")
    settings = _settings(folder, port)
    if settings.DATABASE_URL or "DATABASE_HOSTNAME" in os.environ:
        yield settings
        return
    with _alone(folder), _ending_well(), _bundled(folder) as url:
        yield settings.model_copy(update={"DATABASE_URL": url})


def _settings(folder: Path, port: int) -> Settings:
    given = Settings()
    address = f"http://127.0.0.1:{port}"
    defaults = {
        "ISOLATED": True,
        "ORG_NAME": "MyOrg1",
        "MSP_ID": "MyOrg1MSP",
        "DEFAULT_DOMAIN": address,
        "CHANNELS": {CHANNEL: ChannelSettings(model_export_enabled=True)},
        "USERS": list(USERS),
        "SECRET_KEY": read_or_create_secret(folder / "secret-key"),
        "MEDIA_ROOT": folder / "medias",
        "SERVERMEDIAS_ROOT": folder / "servermedias",
        "CORS_ALLOW_CREDENTIALS": True,
    }
    unsaid = {name: value for name, value in defaults.items() if name not in os.environ}
    return given.model_copy(update=unsaid)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The bundled server starts by ending one that was left over, which must not be another command's."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(
                f"Another `substra-ray serve` or `fixtures` uses {folder.parent}: "
                "end it, or give another folder with --state."
            ) from None
        yield


@contextmanager
def _ending_well() -> Iterator[None]:
    """SIGTERM, which uvicorn raises once more at its end, ends the blocks of this process too."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _bundled(folder: Path) -> Iterator[str]:
    """The address of a database of our own on the bundled server."""
    server = Postgres(folder / "postgres", None, free_port())
    server.initialise()
    with (folder / "postgres.log").open("ab") as log:
        process = subprocess.Popen(
            server.command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder / "postgres",
            env=server.environment(),
            start_new_session=True,  # Ctrl-C is for the API, which still needs its database while it stops
        )
    try:
        server.wait_ready()
        password = read_or_create_secret(folder / "database-password")
        server.ensure_database(DATABASE, OWNER, password)
        yield server.url(DATABASE, OWNER, password)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
