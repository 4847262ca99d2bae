"""One function's run, seen from the runner: a connection to its per-task parent, a log, a way to end it."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray_jobs.capture import LogCapture
from ray_jobs.guard import Breach, DiskGuard
from ray_jobs.inner import processes, wire

_COLD = Path(__file__).with_name("inner") / "cold.py"
_PATIENCE_S = 6.0  # for a parent that was told to end its tree
_AFTERMATH_S = 1.0  # for the log's end once the tree has ended


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a function ended. `exit` is its code, -signal, or None: ended by us, or its parent died.

    `refused`: it did not start, and why the zygote says that its children are not pristine any more.
    """

    exit: int | None
    reason: str | None = None
    limit: bool = False  # ended because it broke a limit, its own fault
    refused: str | None = None
    lost: bool = False  # nobody can say how it ended: its watcher died with it
    modules: list[str] = field(default_factory=list)
    times_ms: dict[str, float] = field(default_factory=dict)


def isolated_python() -> list[str]:
    """This interpreter without site packages, environment variables or the current folder."""
    return [sys.executable, "-I", "-S"]


class Execution:
    """A function's process tree. `end` may come from any thread; all else belongs to one."""

    def __init__(self, connection: socket.socket, cold: subprocess.Popen[bytes] | None) -> None:
        self._connection = connection
        self._cold = cold
        self._ended_at: float | None = None

    @property
    def warm(self) -> bool:
        """Whether a zygote runs it."""
        return self._cold is None

    @classmethod
    def in_zygote(cls, connection: socket.socket) -> "Execution":
        """Over a connection on which the zygote has been told that a task comes."""
        return cls(connection, None)

    @classmethod
    def cold(cls) -> "Execution":
        """With a per-task parent of its own, under our interpreter."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [*isolated_python(), str(_COLD), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
        return cls(ours, process)

    def start(self, request: dict[str, Any], log: LogCapture) -> None:
        """Send what to run. A zygote that is gone, or refuses, is found by `wait`. Raises OSError."""
        with contextlib.suppress(ConnectionError):
            wire.send(self._connection, request, [log.writer])
        log.started()

    def end(self) -> None:
        """Kill the whole tree; `wait` returns soon after."""
        self._ended_at = self._ended_at or time.monotonic()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def wait(self, log: LogCapture, timeout_s: float, disk: DiskGuard) -> Outcome:
        """See it through, taking its log meanwhile; `timeout_s` 0 is no limit."""
        deadline = time.monotonic() + timeout_s if timeout_s else None
        answer: dict[str, Any] | None = None
        breach: Breach | None = None
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        poll.register(log.reader, select.POLLIN)
        while answer is None:
            ready = {descriptor for descriptor, _event in poll.poll(200)}
            if log.reader in ready and not log.drain():
                poll.unregister(log.reader)
            if self._connection.fileno() in ready:
                answer = self._answer()
            elif self._ended_at and time.monotonic() - self._ended_at > _PATIENCE_S:
                answer = {"error": "its processes do not end"}
            elif breach is None:
                breach = disk.look()
                if deadline and time.monotonic() > deadline:
                    breach = Breach(f"over its time limit of {timeout_s:g} s", own_fault=True)
                if breach is not None:
                    self.end()
        self._finish()
        _drain_to_the_end(log)
        outcome = _outcome(answer)
        if breach is not None and outcome.exit is None:
            return Outcome(None, breach.reason, limit=breach.own_fault, times_ms=outcome.times_ms)
        return outcome

    def _answer(self) -> dict[str, Any]:
        self._connection.settimeout(_PATIENCE_S)
        try:
            received = wire.receive(self._connection)
        except (OSError, wire.BrokenMessage) as error:
            return {"error": str(error), "lost": True}
        if received is None:
            return {"error": "the process that watches over it has ended", "lost": True}
        for descriptor in received[1]:
            os.close(descriptor)
        return received[0]

    def _finish(self) -> None:
        self._connection.close()
        if self._cold is None:
            return
        try:
            self._cold.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            processes.strike([*processes.descendants(self._cold.pid), self._cold.pid])
            self._cold.wait()


def _drain_to_the_end(log: LogCapture) -> None:
    """Whoever still holds the pipe outlived its tree's end, which the kernel allows in rare states only."""
    deadline = time.monotonic() + _AFTERMATH_S
    while log.drain():
        left_ms = 1e3 * (deadline - time.monotonic())
        poll = select.poll()
        poll.register(log.reader, select.POLLIN)
        if left_ms <= 0 or not poll.poll(left_ms):
            return


def _outcome(answer: dict[str, Any]) -> Outcome:
    """The parent's words, which a hostile package may have written: shapes are checked, nothing more."""
    code, error, killed = answer.get("exit"), answer.get("error"), answer.get("killed")
    report, times = answer.get("report"), answer.get("times_ms")
    names: Sequence[Any] = report.get("modules", ()) if isinstance(report, dict) else ()
    return Outcome(
        exit=code if isinstance(code, int) else None,
        lost=answer.get("lost") is True,
        refused=str(answer.get("flaw"))[:200] if answer.get("works") is False else None,
        reason=str(error or killed)[:200] if error or killed else None,
        limit=isinstance(killed, str) and killed != "canceled",
        modules=[name for name in names if isinstance(name, str)]
        if isinstance(names, list)
        else [],
        times_ms={
            str(name): float(value)
            for name, value in (times.items() if isinstance(times, dict) else ())
            if isinstance(value, int | float)
        },
    )
