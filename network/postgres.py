"""The bundled PostgreSQL of an embedded network: made, described as a command, watched, repaired.

Nothing here keeps the server running: that is the supervisor's work, who starts `command()`.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import psutil
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from network import unprivileged
from network.ports import free_port
from network.postgres_binaries import LATEST, copy_for_others, installation, major_of
from network.private_files import private_folder, read_or_create_secret, write_private

SUPERUSER = "postgres"
FOREIGN_ROOT = Path("/var/lib/substra-ray")  # only where root has no user namespaces (rule 25)
MEMORY = {"shared_buffers": "32MB", "work_mem": "8MB", "maintenance_work_mem": "32MB"}
NO_DURABILITY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """One server: `folder` (0700) holds the password and, unless it lives elsewhere, the data.

    Args:
        folder: the server's own part of the state folder.
        socket_folder: short (socket paths end at 107 bytes) and private; None for no Unix socket.
        port: TCP port on 127.0.0.1.
        connections: `max_connections`.
    """

    def __init__(
        self,
        folder: Path,
        socket_folder: Path | None,
        port: int,
        *,
        connections: int = 100,
        durable: bool = True,
    ) -> None:
        self.folder = folder
        self.port = port
        self._socket_folder = socket_folder
        self._settings = {"max_connections": str(connections), **MEMORY}
        if not durable:
            self._settings |= NO_DURABILITY
        self._way = unprivileged.way()
        self._home = self._foreign_home() if self._way == "nobody" else folder
        if self._way == "nobody" and socket_folder is not None:
            self._socket_folder = self._home / "s"

    @property
    def data(self) -> Path:
        return self._home / "data"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def foreign_home(self) -> Path | None:
        """The folder outside the state folder that `down --purge` has to remove, if there is one."""
        return self._home if self._way == "nobody" else None

    def url(self, database: str, user: str = SUPERUSER, password: str | None = None) -> str:
        """`postgresql://user:password@127.0.0.1:port/database`; the superuser's unless given."""
        return f"{self.address(user, password)}/{database}"

    def address(self, user: str = SUPERUSER, password: str | None = None) -> str:
        password = password or self.password_file.read_text("ascii").strip()
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}"

    # ------------------------------------------------------------------ making and starting
    def initialise(self) -> None:
        """Make the data folder once; a half-made one is made again. Clears what a killed server left.

        Raises:
            PostgresUnavailable: no bundled version fits.
            RuntimeError: initdb failed; its words are in the text.
        """
        private_folder(self.folder)
        read_or_create_secret(self.password_file)
        if self._way == "nobody":
            self._prepare_foreign_home()
        if self._socket_folder is not None:
            self._own(private_folder(self._socket_folder))
        complete = self.data / "substra-ray-complete"
        if complete.exists():
            self.clear_stale_locks()
            return
        if major_of(self.data) is not None and (self.data / "postmaster.opts").exists():
            self._mark(complete)  # it has served before: never throw that away
            self.clear_stale_locks()
            return
        shutil.rmtree(self.data, ignore_errors=True)
        self._initdb()
        self._mark(complete)

    def command(self) -> list[str]:
        """The server in the foreground; SIGINT ends it fast (SIGTERM would wait for clients)."""
        words = [self._program("postgres"), "-D", str(self.data), "-p", str(self.port)]
        sockets = self._socket_folder
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "" if sockets is None else str(sockets),
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
            "log_destination": "stderr",
            "log_timezone": "UTC",
            **self._settings,
        }
        for name, value in settings.items():
            words += ["-c", f"{name}={value}"]
        return unprivileged.command(self._way, words)

    def _initdb(self) -> None:
        folder = self._home / "initdb"
        shutil.rmtree(folder, ignore_errors=True)
        self._own(private_folder(folder))
        given = folder / "password"
        write_private(given, self.password_file.read_text("ascii"))
        self._own(given)
        words = [self._program("initdb"), "-D", str(self.data), "-U", SUPERUSER]
        words += ["--auth=scram-sha-256", f"--pwfile={given}", "--encoding=UTF8", "--no-locale"]
        if self._settings.get("fsync") == "off":
            words.append("--no-sync")
        done = subprocess.run(
            unprivileged.command(self._way, words),
            capture_output=True,
            text=True,
            cwd=self._home,
            env=self.environment(),
            check=False,
        )
        shutil.rmtree(folder, ignore_errors=True)
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed ({done.returncode}): {done.stderr.strip()[-2000:]}")

    def environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

    def _program(self, name: str) -> str:
        major = major_of(self.data) or LATEST
        if self._way == "nobody":
            return str(copy_for_others(major, self._home / "programs") / "bin" / name)
        return str(installation(major) / "bin" / name)

    def _mark(self, complete: Path) -> None:
        complete.touch()
        self._own(complete)

    # ------------------------------------------------------------------ as `nobody`
    def _foreign_home(self) -> Path:
        return FOREIGN_ROOT / sha256(str(self.folder.resolve()).encode()).hexdigest()[:8]

    def _prepare_foreign_home(self) -> None:
        FOREIGN_ROOT.mkdir(parents=True, exist_ok=True)
        FOREIGN_ROOT.chmod(0o711)
        self._own(private_folder(self._home))
        (self.folder / "location").write_text(str(self._home))

    def _own(self, path: Path) -> None:
        if self._way == "nobody":
            os.chown(path, *unprivileged.nobody())

    # ------------------------------------------------------------------ repair
    def clear_stale_locks(self) -> None:
        """Remove lock files whose server is dead; end a server of ours that outlived its supervisor.

        PostgreSQL itself refuses to start when another process has got the old pid meanwhile.
        """
        pid = self._locked_pid()
        if pid is not None:
            _end_server(pid)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        if self._socket_folder is not None:
            for socket in self._socket_folder.glob(".s.PGSQL.*"):
                socket.unlink(missing_ok=True)

    def _locked_pid(self) -> int | None:
        """The pid in the lock file, if that process is a PostgreSQL server of this data folder."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            ours = "postgres" in process.name() and str(self.data) in process.cmdline()
        except (OSError, ValueError, psutil.Error):
            return None
        return pid if ours else None

    # ------------------------------------------------------------------ using it
    def wait_ready(self, timeout_s: float = 30) -> None:
        """Return once the server answers queries.

        Raises:
            TimeoutError: it did not within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                psycopg2.connect(self.url("postgres"), connect_timeout=3).close()
            except psycopg2.OperationalError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"PostgreSQL does not answer: {error}") from error
                time.sleep(0.05)
            else:
                return

    def ensure_database(self, name: str, owner: str, password: str) -> None:
        """A database that only `owner` (created with this password) and the superuser may enter."""
        connection = psycopg2.connect(self.url("postgres"))
        connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        role, database = sql.Identifier(owner), sql.Identifier(name)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (owner,))
                verb = sql.SQL("CREATE" if cursor.fetchone() is None else "ALTER")
                statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
                cursor.execute(statement.format(verb, role, sql.Literal(password)))
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
                    closed = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC")
                    cursor.execute(closed.format(database))
        finally:
            connection.close()


def _end_server(pid: int) -> None:
    """Fast shutdown, then SIGKILL after 10 s."""
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        process = psutil.Process(pid)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(10)


@contextmanager
def temporary_server(folder: Path, *, durable: bool = False) -> Iterator[str]:
    """A server for tests: `postgresql://user:password@127.0.0.1:port`, gone (with its data) on leaving.

    `durable` makes it wait for the disk, as a real one: for measurements.
    """
    home = Path(tempfile.mkdtemp(dir=folder))
    server = Postgres(home, None, free_port(), connections=200, durable=durable)
    server.initialise()
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            server.command(),
            stdout=output,
            stderr=output,
            cwd=home,
            env=server.environment(),
            start_new_session=True,
        )
    try:
        server.wait_ready()
        yield server.address()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        for left in {home, server.foreign_home or home}:
            shutil.rmtree(left, ignore_errors=True)
