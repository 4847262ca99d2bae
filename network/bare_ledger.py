"""The database of a ledger that has a state folder of its own, or lies in a network's: served, or reached.

A bare ledger's folder holds its PostgreSQL (`postgres/`), the port of it (`ledger.json`), a password, a log,
and a lock that its process holds.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from network.layout import Layout, UnusableFolder
from network.ports import free_port
from network.postgres import Postgres
from network.private_files import private_folder, read_or_create_secret, write_private
from network.settings_files import postgres_of
from network.state import State
from network.supervisor import hold

log = structlog.get_logger(__name__)

DATABASE = "orchestrator"
OURS = {"ledger.json", "ledger.lock", "postgres", "postgres.log", "database-password"}
CONNECTIONS = 60
LOOK_S = 0.25
STOP_S = 15


class LedgerStateError(RuntimeError):
    """The folder cannot be used as asked; the text says the way out."""


class BareLedger:
    """The state folder of a ledger without a network."""

    def __init__(self, folder: Path) -> None:
        """Raises UnusableFolder for a folder with something else in it. Makes nothing."""
        self.folder = folder.expanduser().absolute().resolve()
        if self.folder.exists() and not self.folder.is_dir():
            raise UnusableFolder(f"{self.folder} is no folder. Give another one with --state.")
        names = {entry.name for entry in self.folder.iterdir()} if self.folder.exists() else set()
        if names and not names & OURS:
            raise UnusableFolder(
                f"{self.folder} holds other files and no ledger. Give an empty or new folder with --state."
            )
        if "state.json" in names:
            raise UnusableFolder(
                f"{self.folder} belongs to a network, which serves its own ledger (`substra-ray up`)."
            )

    @property
    def exists(self) -> bool:
        return (self.folder / "ledger.json").exists()

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The database's URL, its server kept running meanwhile; nobody else may serve this folder.

        Raises:
            LedgerStateError: another process serves it.
            UnusableFolder, PostgresUnavailable, RuntimeError
        """
        try:
            private_folder(self.folder)
        except OSError as error:
            raise UnusableFolder(
                f"The state folder {self.folder} cannot be used ({error.strerror})."
            ) from error
        with self._lock() as held:
            if not held:
                raise LedgerStateError(f"Another process serves the ledger in {self.folder}.")
            port = free_port()
            write_private(self.folder / "ledger.json", json.dumps({"postgres_port": port}))
            password = read_or_create_secret(self.folder / "database-password")
            postgres = self._postgres(port)
            with running(postgres, self.folder / "postgres.log"):
                postgres.ensure_database(DATABASE, DATABASE, password)
                yield postgres.url(DATABASE, DATABASE, password)

    @contextmanager
    def reached(self) -> Iterator[str]:
        """The database's URL for a while: that of the process that serves it, else its server is started.

        Raises:
            LedgerStateError: there is no ledger.
        """
        if not self.exists:
            raise LedgerStateError(f"There is no ledger in {self.folder}.")
        with self._lock() as held:
            if held:
                with self._started() as url:
                    yield url
                return
        port = json.loads((self.folder / "ledger.json").read_text("utf-8"))["postgres_port"]
        password = read_or_create_secret(self.folder / "database-password")
        postgres = self._postgres(port)
        postgres.wait_ready()
        yield postgres.url(DATABASE, DATABASE, password)

    @contextmanager
    def _started(self) -> Iterator[str]:
        postgres = self._postgres(free_port())
        password = read_or_create_secret(self.folder / "database-password")
        with running(postgres, self.folder / "postgres.log"):
            postgres.ensure_database(DATABASE, DATABASE, password)
            yield postgres.url(DATABASE, DATABASE, password)

    def _postgres(self, port: int) -> Postgres:
        return Postgres(self.folder / "postgres", None, port, connections=CONNECTIONS)

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        """Whether the folder is ours alone until leaving."""
        descriptor = os.open(
            self.folder / "ledger.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)


@contextmanager
def ledger_database(folder: Path) -> Iterator[str]:
    """The URL of the ledger in a state folder, a network's or a bare one's, for maintenance.

    Raises:
        LedgerStateError, UnusableFolder, UnusableState: there is none, or it cannot be reached.
    """
    layout = Layout.at(folder)
    state = State.load(layout)
    if state is None:
        with BareLedger(folder).reached() as url:
            yield url
        return
    postgres = postgres_of(layout, state)
    url = postgres.url(DATABASE, DATABASE, state.secrets[f"database:{DATABASE}"])
    lock = hold(layout)
    if lock is None:
        postgres.wait_ready()
        yield url
        return
    try:
        layout.make()
        with running(postgres, layout.logs / "postgres.log"):
            yield url
    finally:
        os.close(lock)


@contextmanager
def running(postgres: Postgres, log_file: Path) -> Iterator[None]:
    """Keep a server running until leaving: one that dies is started again."""
    postgres.initialise()
    child = _start(postgres, log_file)
    leaving = threading.Event()
    lock = threading.Lock()

    def keep() -> None:
        nonlocal child
        while not leaving.wait(LOOK_S):
            with lock:
                if child.poll() is not None and not leaving.is_set():
                    log.warning("postgres_died", status=child.returncode)
                    postgres.clear_stale_locks()
                    child = _start(postgres, log_file)

    keeper = threading.Thread(target=keep, name="postgres-keeper", daemon=True)
    keeper.start()
    try:
        postgres.wait_ready()
        yield
    finally:
        leaving.set()
        with lock:
            _stop(child)


def _start(postgres: Postgres, log_file: Path) -> subprocess.Popen[bytes]:
    """A session of its own: Ctrl-C is for us, and we end it when nobody needs it any more."""
    with log_file.open("ab", buffering=0) as output:
        return subprocess.Popen(
            postgres.command(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=postgres.folder,
            env=postgres.environment(),
            start_new_session=True,
        )


def _stop(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGINT)
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
