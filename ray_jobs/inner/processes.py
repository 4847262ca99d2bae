"""Finding and ending whole trees of processes.

Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import os
import signal
import time

_PAGE = os.sysconf("SC_PAGE_SIZE")
_SMALL = 16 << 20


def parents() -> dict[int, int]:
    """The parent of every process that /proc shows."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    found[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue  # it has ended meanwhile
    return found


def descendants(root: int) -> list[int]:
    """All processes below `root`, nearest first, without itself."""
    below: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        below.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = below.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def has_ended(child: int) -> bool:
    """Whether this child waits to be reaped; it is left so."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def memory(pids: list[int]) -> int:
    """Bytes of these processes together, what they share counted once; of those that still run.

    Quick for small ones: the exact figure of a process is asked only where its resident size is large.
    """
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                resident = int(file.read().split()[1]) * _PAGE
            total += resident if resident < _SMALL else _proportional(pid, resident)
        except (OSError, IndexError, ValueError):
            continue
    return total


def _proportional(pid: int, resident: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # not shown to us here: the larger figure then
    return resident


def strike(pids: list[int]) -> None:
    """SIGSTOP first, so that none can fork a successor, then SIGKILL."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            try:
                os.kill(pid, number)
            except OSError:
                continue


def end_descendants(scoped: bool, patience_s: float = 5.0) -> bool:
    """Kill all descendants of this process (a subreaper) and reap them; False if some would not die.

    `scoped`: this process is in a Landlock domain of its own that scopes signals. Then kill(-1) reaches
    exactly the domain's other processes, all at once: no fork bomb outruns it. **Never** claim it wrongly.
    """
    deadline = time.monotonic() + patience_s
    while True:
        if scoped:
            try:
                os.kill(-1, signal.SIGKILL)
            except OSError:
                pass  # nobody left to kill
        elif not _childless():
            strike(descendants(os.getpid()))
        if _childless():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)


def _childless() -> bool:
    """Reap what has ended; whether no child is left."""
    while True:
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False
