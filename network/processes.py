"""Processes by pid *and* start time, trees of them, and the mark that finds those whose parents are gone."""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "SUBSTRA_RAY_NETWORK"  # in the environment of every process of a network: Layout.identity
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class ProcessId:
    """`started` tells a process from a later one with the same pid."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """None when there is no such process, or only its remains (a zombie)."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, _started(process))
        except psutil.Error:
            return None

    def alive(self) -> bool:
        return ProcessId.of(self.pid) == self

    def signal(self, number: int) -> bool:
        """Send a signal unless the process is gone (or is another one by now)."""
        if not self.alive():
            return False
        try:
            os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def _started(process: psutil.Process) -> float:
    """Clock ticks since boot on Linux (a corrected clock does not change them), else seconds."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text("latin-1")
    except OSError:
        return process.create_time()
    return float(stat.rpartition(")")[2].split()[19])


def descendants(pid: int) -> list[ProcessId]:
    """All living processes below `pid`, itself left out."""
    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    return [found for child in below if (found := ProcessId.of(child.pid)) is not None]


def marked(identity: str) -> list[ProcessId]:
    """Processes of the network `identity`, whoever their parents are; ourselves left out."""
    wanted = f"{MARK}={identity}"
    found = []
    for pid in psutil.pids():
        if pid != os.getpid() and wanted in _environment(pid):
            process = ProcessId.of(pid)
            if process is not None:
                found.append(process)
    return found


def _environment(pid: int) -> Iterable[str]:
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        if sys.platform.startswith("linux"):
            return ()
        with contextlib.suppress(psutil.Error):
            return [f"{k}={v}" for k, v in psutil.Process(pid).environ().items()]
        return ()
    return content.decode("utf-8", "replace").split("\0")


def end(processes: Iterable[ProcessId], *, grace_s: float = 5, first: int = signal.SIGTERM) -> None:
    """Ask every process to stop, then kill those that are left; returns when all are gone."""
    left = [process for process in processes if process.signal(first)]
    left = _wait(left, grace_s)
    for process in left:
        process.signal(signal.SIGKILL)
    _wait(left, 10)


def _wait(processes: list[ProcessId], seconds: float) -> list[ProcessId]:
    deadline = time.monotonic() + seconds
    left = [process for process in processes if process.alive()]
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [process for process in left if process.alive()]
    return left


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies (Linux), so that none is lost."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(known: set[int]) -> None:
    """Collect the remains of adopted processes; the pids in `known` have somebody who waits for them."""
    for child in _children():
        if child.pid not in known and child.status() == psutil.STATUS_ZOMBIE:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, os.WNOHANG)


def _children() -> Iterator[psutil.Process]:
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            yield child
