"""Watches the disk while a function runs: no quota can be had without privileges, so what fills it is ended."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_EVERY_S = 0.5
_INNOCENT_BYTES = 64 << 20  # who holds less is not the one that fills the disk
_INNOCENT_FILES = 10_000
_FILES_LEFT = 100  # a hundredth of the file system's, which make it as full as bytes do
_MOST_FILES = (
    50_000  # counted at a look; a task with more has been found guilty before, or is harmless
)


@dataclass(frozen=True, slots=True)
class Breach:
    """Why a function has to end; `own_fault` says whose failure that is."""

    reason: str
    own_fault: bool


class DiskGuard:
    """Of one task's folders. `look` costs two system calls twice a second while there is room."""

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder = folder
        self._reserve = reserve_bytes
        self._next = time.monotonic() + _EVERY_S

    def look(self) -> Breach | None:
        """What is wrong, if anything is. Files that were deleted and are still open are seen by nobody: when
        the disk is all but full, whatever runs is ended, and may be tried again.
        """
        now = time.monotonic()
        if not self._reserve or now < self._next:
            return None
        self._next = now + _EVERY_S
        free, files = _free(self._folder), _free_files(self._folder)
        few_files = files is not None and files < 1 / _FILES_LEFT
        if free >= self._reserve and not few_files:
            return None
        held = usage(self._folder)
        if few_files and held.files > _INNOCENT_FILES:
            reason = f"the disk can hold few more files, and {held.files} or more are its own"
            return Breach(reason, own_fault=True)
        if free < self._reserve and held.size > _INNOCENT_BYTES:
            reason = f"the disk is almost full, and its files take {held.size >> 20} MiB"
            return Breach(reason, own_fault=True)
        if free < self._reserve // 4 or (files is not None and files < 0.25 / _FILES_LEFT):
            return Breach("the disk is full", own_fault=False)
        return None


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _free_files(folder: Path) -> float | None:
    """The part of all files that can still be made; None where the file system has no such limit."""
    found = os.statvfs(folder)
    return found.f_favail / found.f_files if found.f_files else None


class Usage(NamedTuple):
    """Bytes on the disk, and files and folders."""

    size: int
    files: int


def usage(folder: Path) -> Usage:
    """What a tree takes, links not followed; what cannot be listed counts nothing."""
    total, files, waiting = 0, 0, [folder]
    while waiting and files < _MOST_FILES:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue  # the function changes its tree meanwhile
    return Usage(total, files)
