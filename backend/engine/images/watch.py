"""What a RUN line may use up: processes, memory, the disk. The kernel limits each process, this all of them."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import psutil

_EVERY_S = 0.5
MOST_PROCESSES = 4096
MOST_MEMORY_SHARE = 0.9  # of the machine's memory
RESERVE_BYTES = 512 << 20  # of disk, left to the machine
RESERVE_FILES_SHARE = 0.01  # of the files that the file system can hold


def _free_files(folder: Path) -> float:
    """The part of them that can still be made; all where there is no such limit."""
    found = os.statvfs(folder)
    return found.f_favail / found.f_files if found.f_files else 1.0


class Watch:
    """Looks at the tree below one process twice a second. Builds are the only writers of their folder."""

    def __init__(
        self,
        pid: int,
        folder: Path,
        *,
        most_processes: int = MOST_PROCESSES,
        most_memory: int | None = None,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        free_files: Callable[[Path], float] = _free_files,
    ) -> None:
        self._process = psutil.Process(pid)
        self._folder = folder
        self._most_processes = most_processes
        self._most_memory = most_memory or int(psutil.virtual_memory().total * MOST_MEMORY_SHARE)
        self._free = free
        self._free_files = free_files
        self._next = time.monotonic() + _EVERY_S

    def broken(self) -> str | None:
        """The limit that is broken, in words for the build's log; None nearly always."""
        if time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + _EVERY_S
        if self._free(self._folder) < RESERVE_BYTES:
            return "the disk is almost full"
        if self._free_files(self._folder) < RESERVE_FILES_SHARE:
            return "the disk can hold few more files"
        try:
            below = self._process.children(recursive=True)
        except psutil.Error:
            return None  # it has just ended
        if len(below) > self._most_processes:
            return f"more than {self._most_processes} processes"
        if sum(map(_private_bytes, below)) > self._most_memory:
            return f"more than {self._most_memory >> 20} MiB of memory"
        return None


def _private_bytes(process: psutil.Process) -> int:
    """Resident memory without what is shared with files or others: a floor, and quick to read."""
    try:
        words = Path(f"/proc/{process.pid}/statm").read_bytes().split()
        return (int(words[1]) - int(words[2])) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
