"""The organization's zygotes: found by any of its runners, started under a lock, the oldest retired (rule 40).

Each has three files in `<run folder>/z`: `<id>.lock`, `<id>.s` (its socket) and `<id>.json` (mode 0600:
pid, start time, token; its modification time is that of the last use). `status` lists zygotes from there.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import secrets
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray_jobs.execution import isolated_python
from ray_jobs.inner import wire
from ray_jobs.learned import Learned
from ray_jobs.lease import Environment
from ray_jobs.root import variables
from ray_jobs.scratch import Scratch, Zone
from ray_jobs.session import Session

_INNER = Path(__file__).with_name("inner")
_START_S = 120.0
_NAMED_MS = 10_000
_REFUSED_S, _LONGEST_REFUSED_S = 60.0, 3600.0  # before a zygote that failed is tried again
_LONGEST_SOCKET_PATH = 107
log = logging.getLogger(__name__)


class NoZygote(Exception):
    """None can be had for this environment: start cold."""


class Zygotes:
    """Connections to warm interpreters, one zygote per environment and image variables."""

    def __init__(self, session: Session, scratch: Scratch, learned: Learned) -> None:
        self._session = session
        self._scratch = scratch
        self._learned = learned
        self._folder = session.run_folder / "z"
        self._folder.mkdir(exist_ok=True, mode=0o700)
        self._attached: dict[str, socket.socket] = {}
        self._refused: dict[str, tuple[float, float]] = {}  # until when; how long the next time

    @staticmethod
    def identity(environment: Environment) -> str:
        """Environment, interpreter and variables, which libraries read when they are imported."""
        parts = [environment.key, str(environment.python), sorted(environment.env.items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def zone(self, environment: Environment) -> Zone:
        return self._scratch.zone(self.identity(environment))

    def connect(self, environment: Environment, stopped: threading.Event) -> socket.socket:
        """A connection whose next message is a task's request. Starts the zygote if need be.

        Raises:
            NoZygote: it can't be started, doesn't compute after a fork, or `stopped` was set.
        """
        name = self.identity(environment)
        if time.monotonic() < self._refused.get(name, (0.0, 0.0))[0]:
            raise NoZygote
        for tried in (False, True):  # the one that we hold may be retiring: others needed its place
            try:
                self._attach(name, environment, stopped)
                return self._connection(name, {"kind": "task"})
            except (OSError, wire.BrokenMessage, ValueError) as error:
                self._forget(name)
                if tried:
                    self._refuse(name, f"it does not answer: {error}")
                    raise NoZygote from error
        raise NoZygote

    def ahead(self, environment: Environment, policy: dict[str, Any]) -> socket.socket | None:
        """A connection to a process that waits for a task behind this policy; None where there is no zygote.

        Its first message claims it, and is answered `{"claimed": true}` by one that lives.
        """
        name = self.identity(environment)
        if name not in self._attached:
            return None
        try:
            return self._connection(name, {"kind": "ahead", "policy": policy})
        except (OSError, ValueError):
            return None

    def refuse(self, environment: Environment, flaw: str) -> None:
        """It said itself that its children would not be pristine."""
        name = self.identity(environment)
        self._forget(name)
        self._refuse(name, flaw)

    def _refuse(self, name: str, flaw: str) -> None:
        """Start cold for a while, and say so once; tried again ever more rarely."""
        known = self._refused.get(name)
        pause_s = _REFUSED_S if known is None else known[1]
        self._refused[name] = (time.monotonic() + pause_s, min(2 * pause_s, _LONGEST_REFUSED_S))
        if known is None:
            log.warning("zygote %s cannot be used, functions start cold: %s", name, flaw)

    def warm(self, environment: Environment, names: list[str]) -> None:
        """Let the living zygote import these names between two tasks; others go if they then are too large."""
        with contextlib.suppress(OSError, ValueError):
            name = self.identity(environment)
            connection = self._connection(name, {"kind": "warm", "names": names})
            grown = threading.Thread(
                target=self._grown, args=(connection,), name="warmed", daemon=True
            )
            grown.start()

    def _grown(self, connection: socket.socket) -> None:
        """Wait for the end of the imports, then look at the memory of all: else the next start would."""
        with connection:
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            if poll.poll(1e3 * _START_S):
                self._retire(self._living(), coming=False)

    def close(self) -> None:
        """Let go of all zygotes; those that nobody holds end by themselves."""
        for connection in self._attached.values():
            connection.close()
        self._attached.clear()

    def _connection(self, name: str, message: dict[str, Any]) -> socket.socket:
        state = self._state(name)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self._folder / f"{name}.s"))
            wire.send(connection, {"token": state["token"], **message})
        except OSError:
            connection.close()
            raise
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._folder / f"{name}.json")
        return connection

    def _state(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self._folder / f"{name}.json").read_text("utf-8"))
        return value

    def _forget(self, name: str) -> None:
        connection = self._attached.pop(name, None)
        if connection is not None:
            connection.close()

    def _attach(self, name: str, environment: Environment, stopped: threading.Event) -> None:
        """Hold on to the living zygote, or start one."""
        held = self._attached.get(name)
        if held is not None and not _is_closed(held):
            return
        self._forget(name)
        with self._lock(name, stopped):
            try:
                connection = self._connection(name, {"kind": "attach"})
            except (OSError, ValueError):
                self._make_room()
                self._start(name, environment)
                connection = self._connection(name, {"kind": "attach"})
            flaw = _wait_for_flaw(connection, stopped)
        if flaw is not None:
            connection.close()
            if not stopped.is_set():
                self._refuse(name, flaw)
            raise NoZygote
        self._refused.pop(name, None)
        self._attached[name] = connection

    @contextlib.contextmanager
    def _lock(self, name: str, stopped: threading.Event) -> Iterator[None]:
        path = self._folder / f"{name}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:  # another runner is warming it up
                    if stopped.wait(0.02):
                        raise NoZygote from None
            yield
        finally:
            os.close(descriptor)

    def _start(self, name: str, environment: Environment) -> None:
        """A new zygote behind its walls, even while its site packages load. Raises OSError."""
        address = self._folder / f"{name}.s"
        if len(os.fsencode(address)) > _LONGEST_SOCKET_PATH:
            raise OSError("the run folder's path is too long for a socket")
        zone = self._scratch.zone(name)
        token = secrets.token_hex(16)
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(address))
            listener.listen(64)
            process = self._spawn(name, listener, environment, zone)
            number = listener.fileno()
        configuration = {
            "listener": number,
            "token": token,
            "packages": str(environment.root),
            "idle_s": self._session.zygotes_idle_s,
            "names": self._learned.names(environment.key),
        }
        assert process.stdin is not None
        with process.stdin as pipe:
            pipe.write(json.dumps(configuration).encode())
        pid = _final_pid(process)
        state = {"pid": pid, "start": _start_time(pid), "token": token}
        fresh = self._folder / f"{name}.new"
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(state, file)
        fresh.replace(self._folder / f"{name}.json")

    def _spawn(
        self, name: str, listener: socket.socket, environment: Environment, zone: Zone
    ) -> subprocess.Popen[bytes]:
        root = str(environment.root)
        given = variables(environment, environment.root)
        given.update(HOME=str(zone.home), TMPDIR=str(zone.home), USER="user", LOGNAME="user")
        given.pop("PYTHONPATH", None)
        policy = {
            "environment": given,
            "read": [str(zone.read), str(_INNER.parent)],
            "execute": [root, os.path.realpath(root), str(environment.base_prefix)],
            "write": [str(zone.write), str(zone.home)],
            "limits": {},
            "mounts": self._session.mount_wall,
            "processes": True,
            "nested": True,
            "user": f"{self._folder} {name}",
        }
        command = [*isolated_python(), str(_INNER / "confine.py"), "-", json.dumps(policy), "--"]
        command += [str(environment.python), "-u", str(_INNER / "zygote.py")]
        with (self._folder / f"{name}.log").open("wb") as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={},
                cwd="/",
                start_new_session=True,
                pass_fds=[listener.fileno()],
            )

    def _make_room(self) -> None:
        """Retire the least recently used zygotes beyond the limits, the coming one counted."""
        for name in self._retire(self._living(), coming=True):
            self._forget(name)

    def _living(self) -> list[tuple[float, str, int]]:
        """Last use, name and bytes of each zygote, least recently used first."""
        living = []
        for file in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                state = json.loads(file.read_text("utf-8"))
                if _start_time(state["pid"]) == state["start"]:
                    living.append((file.stat().st_mtime, file.stem, _memory(state["pid"])))
        return sorted(living)

    def _retire(self, living: list[tuple[float, str, int]], *, coming: bool) -> list[str]:
        """Those that have to go are told so; without a `coming` one the last used stays, however large."""
        most, gone = self._session.zygotes - coming, []
        while len(living) > (0 if coming else 1) and (
            len(living) > most
            or sum(size for _used, _name, size in living) > self._session.zygotes_memory_bytes
        ):
            _used, name, _size = living.pop(0)
            with contextlib.suppress(OSError, ValueError):
                self._connection(name, {"kind": "retire"}).close()
            gone.append(name)
        return gone


def _final_pid(process: subprocess.Popen[bytes]) -> int:
    """The zygote's process: in a process namespace of its own, it is a child that the command names."""
    assert process.stdout is not None
    with process.stdout as pipe:
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        named = pipe.readline(20).strip() if poll.poll(_NAMED_MS) else b""
    threading.Thread(target=process.wait, name="zygote", daemon=True).start()
    with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
        if (
            named and process.wait(1) == 0
        ):  # else it goes on itself, and these are an environment's words
            return int(named)
    return process.pid


def _wait_for_flaw(connection: socket.socket, stopped: threading.Event) -> str | None:
    """What the zygote says of itself as soon as it has warmed up; None: its children are pristine."""
    deadline = time.monotonic() + _START_S
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    while not poll.poll(100):
        if stopped.is_set() or time.monotonic() > deadline:
            return "it takes too long to warm up"
    received = wire.receive(connection)
    if received is None:
        return "it ended"
    return None if received[0].get("works") is True else str(received[0].get("flaw"))[:200]


def _is_closed(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(0))


def _start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot. Raises OSError for one that has ended."""
    content = Path(f"/proc/{pid}/stat").read_bytes()
    return int(content.rpartition(b")")[2].split()[19])


def _memory(pid: int) -> int:
    """What a zygote holds, bytes; 0 when it can't be read.

    All of its anonymous memory, though its children share it for the moment, and its part of mapped files.
    """
    total = 0
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith(("Anonymous:", "Pss_File:")):
                total += int(line.split()[1]) * 1024
    return total
