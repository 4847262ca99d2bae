"""One kept process of the supervisor: started when its needs are met, restarted when it dies, ended whole."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from network.processes import ProcessId, descendants, end

log = structlog.get_logger(__name__)
STEADY_S = 10  # who lived longer than this and dies is restarted at once
LONGEST_PAUSE_S = 30
LARGEST_LOG = 10 * 1024**2  # bytes
OLD_LOGS = 3


def nothing() -> None:
    """A part that needs no preparation."""


def always() -> bool:
    """A part that is healthy when it runs."""
    return True


@dataclass(frozen=True)
class Part:
    """What the supervisor has to know of one process.

    Attributes:
        after: parts that must be healthy before this one starts.
        before: runs before every start: repair and provisioning; an error is a failed start.
        healthy: whether it answers; called from the thread of the checks, must return within 3 s.
        stop: the signal that asks it to end, and how long it may take.
        once: it ends by itself with status 0 when its work is done.
        fingerprint: changes when the process has to be replaced after a change of the network.
    """

    name: str
    role: str
    command: Callable[[], Sequence[str]]
    environment: dict[str, str]
    folder: Path
    organization: str | None = None
    after: tuple[str, ...] = ()
    before: Callable[[], None] = nothing
    healthy: Callable[[], bool] = always
    stop: int = signal.SIGTERM
    stop_timeout_s: float = 10
    once: bool = False
    fingerprint: str = field(default="", repr=False)


class Child:
    """The process of a part. All methods but `check` belong to the supervisor's main thread."""

    def __init__(self, part: Part, logs: Path) -> None:
        self.part = part
        self.log_file = logs / f"{part.name}.log"
        self.healthy = False
        self.done = False
        self.restarts = 0
        self.last_exit: int | None = None
        self.process: ProcessId | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._next_start = 0.0
        self._failures = 0

    @property
    def pid(self) -> int | None:
        return None if self._popen is None else self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen is not None

    def due(self) -> bool:
        return not self.running and not self.done and time.monotonic() >= self._next_start

    def start(self) -> None:
        """Start the process; a failure counts like a death."""
        part = self.part
        try:
            part.before()
            with self.log_file.open("ab", buffering=0) as output:
                self._popen = subprocess.Popen(
                    list(part.command()),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=part.folder,
                    env=part.environment,
                    start_new_session=True,
                )
        except Exception as error:
            log.warning("start_failed", part=part.name, error=str(error).strip()[:500])
            self._pause()
            return
        self.process = ProcessId.of(self._popen.pid)
        self._started_at = time.monotonic()
        log.info("started", part=part.name, pid=self._popen.pid, restarts=self.restarts)

    def poll(self) -> bool:
        """Notice a death; True when the process ended since the last look."""
        if self._popen is None or self._popen.poll() is None:
            return False
        code = self._popen.returncode
        self.last_exit = code
        end(self._group_left(), grace_s=0, first=signal.SIGKILL)
        self._popen, self.process, self.healthy = None, None, False
        if self.part.once and code == 0:
            self.done, self.healthy, self._failures = True, True, 0
            return True
        log.warning("died", part=self.part.name, status=code)
        self.restarts += 1
        if time.monotonic() - self._started_at > STEADY_S:
            self._failures = 0
        self._pause()
        return True

    def again(self) -> None:
        """Do the work of a `once` part once more."""
        self.done, self.healthy, self._next_start = False, False, 0.0

    def check(self) -> None:
        """Ask the process whether it answers; runs in the thread of the checks."""
        if self._popen is not None and not self.part.once:
            answers = self.part.healthy()
            self.healthy = answers and self._popen is not None

    def ask_to_stop(self) -> list[ProcessId]:
        """Send the stop signal; returns the process and all below it, to be ended by `finish_stop`."""
        self._next_start = float("inf")
        if self._popen is None:
            return []
        tree = descendants(self._popen.pid)
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(self.part.stop)
        return tree

    def finish_stop(self, tree: list[ProcessId]) -> None:
        """Wait for the end, kill what stays."""
        if self._popen is not None:
            try:
                self._popen.wait(self.part.stop_timeout_s)
            except subprocess.TimeoutExpired:
                log.warning("killed", part=self.part.name)
                self._popen.kill()
                self._popen.wait(10)
        end(tree, grace_s=1)
        self._popen, self.process, self.healthy = None, None, False

    def stop(self) -> None:
        self.finish_stop(self.ask_to_stop())

    def rotate_log(self) -> None:
        """Copy and cut a large log: the process goes on writing to the same file (opened for appending)."""
        try:
            if self.log_file.stat().st_size < LARGEST_LOG:
                return
        except FileNotFoundError:
            return
        rotate(self.log_file)

    def _pause(self) -> None:
        self._failures += 1
        pause = (
            0.1 if self._failures == 1 else min(0.5 * 2 ** (self._failures - 2), LONGEST_PAUSE_S)
        )
        self._next_start = time.monotonic() + pause

    def _group_left(self) -> list[ProcessId]:
        """Members of the dead process's session that are still there."""
        session = self._popen.pid if self._popen is not None else 0
        found = []
        for member in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(member.pid) == session:
                    found.append(member)
        return found


def rotate(path: Path) -> None:
    """`x.log` → `x.log.1` → `x.log.2` …, the newest content copied, the file itself emptied."""
    for number in range(OLD_LOGS, 1, -1):
        older = path.with_name(f"{path.name}.{number - 1}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
