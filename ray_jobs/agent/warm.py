"""The warm interpreter of a function's container: `inner/zygote.py` under the image's own Python.

A pod serves one plan and one image, so the container has one zygote at most. It is started for the first task
whose entry point it can fork, behind the walls of a function, and has imported what the runner has learned from
earlier tasks; never a function's own code. Each task gets a new child, which shuts itself in once more.

It outlives the end of a task only where nothing else does: the kernel keeps functions from signalling it
(Landlock's scopes), and after each task the agent finds it, and the unused child that it has forked for the
next one, alone in the container; with anything more all is killed as it is after a cold start.
Standard library only.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import sys
import time
from typing import Any

from ray_jobs.inner import kernel, landlock, processes, seccomp, supervision, wire
from ray_jobs.inner.confine import Policy, shut_in

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_ZYGOTE = os.path.join(_OURS, "inner", "zygote.py")
_SCOPES = 6  # Landlock's version that keeps a function's signals to its own
_START_S = 10.0
_IMPORT_S = 15.0  # less than the runner waits for an answer
_IDLE_S = 7 * 86_400.0  # longer than a pod lives
_SETTLE_S = 0.25  # a task's parent answers shortly before it ends


class NoZygote(Exception):
    """None can be had: start cold. Its text says why, when that is news."""


class Warm:
    """One zygote, or none. `alone`: we are the first process of a PID namespace."""

    def __init__(self, address: str, alone: bool) -> None:
        self._address = address
        self._alone = alone
        self._key: tuple[str, dict[str, str]] | None = None
        self._pid: int | None = None
        self._token = ""
        self._names: list[str] = []
        self._held: socket.socket | None = None  # as long as it is open, the zygote stays
        self._warming: socket.socket | None = None  # answered when the imports have ended
        self._given_up = False

    def connect(
        self, python: str, environment: dict[str, str], policy: dict[str, Any]
    ) -> socket.socket:
        """A connection whose next message is a task's request. Starts the zygote if need be.

        `python` is found as a program of the image would be, `policy` is of all that any task here may reach.
        Raises NoZygote.
        """
        if self._given_up:
            raise NoZygote
        try:
            if self._key != (python, environment):
                self.end()
            if self._pid is None:
                self._start(python, environment, policy)
            self._wait_for_imports()
            return self._connection({"kind": "task"})
        except (OSError, ValueError, wire.BrokenMessage, NoZygote) as error:
            self.end()
            self._given_up = True
            raise NoZygote(str(error) or type(error).__name__) from error

    def learn(self, names: list[Any]) -> None:
        """Import these between two tasks; what is said to have none is started with them."""
        self._names = [name for name in names if isinstance(name, str)]
        if self._pid is None or self._warming is not None:
            return
        try:
            self._warming = self._connection({"kind": "warm", "names": self._names})
        except OSError:
            self.end()

    def reaped(self, pid: int) -> None:
        """A child of the agent has ended."""
        if pid == self._pid:
            self._forget()

    def end(self) -> None:
        """Kill it, and what it has forked."""
        pid = self._pid
        self._forget()
        if pid is not None:
            processes.strike([pid, *processes.descendants(pid)])

    def _forget(self) -> None:
        for connection in (self._held, self._warming):
            if connection is not None:
                connection.close()
        self._pid = self._held = self._warming = self._key = None

    def is_alone(self) -> bool:
        """Whether nothing is left in the container but a living zygote and its child for the next task.

        It is stopped then, so that nothing moves while the container is emptied; `go_on` must follow.
        """
        ends = time.monotonic() + _SETTLE_S
        while self._pid is not None:
            last = _last_pid() if self._alone else b""
            left = self._left()
            if left is not None:
                for pid in left:
                    os.kill(pid, signal.SIGSTOP)
                # a process that began while we looked would have taken a new number
                if left == self._left() and (not self._alone or last == _last_pid()):
                    return True
                self.go_on()
            if time.monotonic() > ends:
                return False
            time.sleep(0.001)
        return False

    def go_on(self) -> None:
        """Let it run again."""
        if self._pid is not None:
            for pid in (self._pid, *processes.descendants(self._pid)):
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    continue

    def _left(self) -> list[int] | None:
        """The zygote and its child, if they are all; None if not. Who has more filters is a function's."""
        own = os.getpid()
        found = processes.parents() if self._alone else processes.descendants(own)
        states = {pid: _state(pid) for pid in found if pid != own}
        living = {pid: state for pid, state in states.items() if state and state[0] not in "ZX"}
        zygote = living.pop(self._pid or 0, None)
        if zygote is None or len(living) > 1:
            return None
        for _letter, parent, filters in living.values():
            if parent != self._pid or filters is None or filters != zygote[2]:
                return None
        return [self._pid or 0, *living]

    def _start(self, python: str, environment: dict[str, str], policy: dict[str, Any]) -> None:
        if landlock.abi() < _SCOPES or kernel.machine() not in seccomp.CALLS:
            raise NoZygote("this kernel does not keep a function's signals from it")
        program = find(python, environment)
        prefix = prefix_of(program)
        self._token = secrets.token_hex(16)
        with socket.socket(socket.AF_UNIX) as listener:
            _unlink(self._address)
            listener.bind(self._address)
            os.chmod(self._address, 0o600)
            listener.listen(8)
            configuration = {
                "listener": listener.fileno(),
                "token": self._token,
                "packages": prefix,
                "idle_s": _IDLE_S,
                "names": self._names,
            }
            reader, writer = os.pipe()
            pid = supervision.quiet_fork()
            if pid == 0:
                _become_zygote(program, environment, Policy.parse(policy), reader, listener)
            os.close(reader)
            self._pid, self._key = pid, (python, environment)
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(json.dumps(configuration).encode())
        self._held = self._connection({"kind": "attach"})
        _check(self._held, _IMPORT_S if self._names else _START_S)

    def _wait_for_imports(self) -> None:
        if self._warming is not None:
            _check(self._warming, _IMPORT_S)
            self._warming.close()
            self._warming = None

    def _connection(self, message: dict[str, Any]) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._address)
            wire.send(connection, {"token": self._token, **message})
        except OSError:
            connection.close()
            raise
        return connection


def find(python: str, environment: dict[str, str]) -> str:
    """The program that a shell would start. Raises NoZygote."""
    folders = environment.get("PATH", "").split(os.pathsep)
    for place in [python] if "/" in python else [os.path.join(f, python) for f in folders if f]:
        if os.path.isfile(place) and os.access(place, os.X_OK):
            return place
    raise NoZygote(f"{python} is not found")


def prefix_of(program: str) -> str:
    """The folder below which an interpreter has its packages, found as it finds it itself. Raises NoZygote."""
    folder = os.path.dirname(os.path.abspath(program))
    beside = [os.path.join(place, "pyvenv.cfg") for place in (folder, os.path.dirname(folder))]
    if not any(map(os.path.isfile, beside)):
        folder = os.path.dirname(os.path.realpath(program))
    prefix = os.path.realpath(os.path.dirname(folder))
    if prefix == "/":
        raise NoZygote("its packages have no folder of their own")
    return prefix


def _become_zygote(
    program: str,
    environment: dict[str, str],
    policy: Policy,
    reader: int,
    listener: socket.socket,
) -> None:
    """In the new process; never returns."""
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(reader, 0)
        for number in (1, 2):  # a package's words belong to no task
            os.dup2(null, number)
        os.set_inheritable(listener.fileno(), True)
        os.chdir("/")
        shut_in(policy, False)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execve(program, [program, "-u", _ZYGOTE], environment)  # noqa: S606
    except BaseException as error:
        sys.stderr.write(f"{program}: {error}\n")
    finally:
        os._exit(126)


def policy_of(task: dict[str, Any], inputs: str, outputs: str, scratch: str) -> dict[str, Any]:
    """What any task of this container may reach: `task` is the policy of one of them."""
    return {
        **task,
        "read": [inputs, _OURS],
        "write": [scratch, outputs, *task["write"]],
        "processes": True,
    }


def _check(connection: socket.socket, for_s: float) -> None:
    """Wait for what the zygote says of itself. Raises NoZygote, OSError, wire.BrokenMessage."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if not poll.poll(1e3 * for_s):
        raise NoZygote("it takes too long to warm up")
    connection.settimeout(1.0)
    received = wire.receive(connection)
    if received is None:
        raise NoZygote("it ended")
    if received[0].get("works") is not True:
        raise NoZygote(str(received[0].get("flaw"))[:200])


def _state(pid: int) -> tuple[str, int, int | None] | None:
    """State, parent and number of seccomp filters (None before Linux 5.9); None when it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            said = dict(line.rstrip("\n").partition(":\t")[::2] for line in file)
        filters = said.get("Seccomp_filters")
        return said["State"][:1], int(said["PPid"]), None if filters is None else int(filters)
    except (OSError, KeyError, ValueError):
        return None


def _last_pid() -> bytes:
    """The number that the newest process of our PID namespace got."""
    with open("/proc/loadavg", "rb") as file:
        return file.read().split()[-1]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
