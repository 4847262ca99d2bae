"""The writable places of a function's container: made for a task, emptied after it.

The image itself is read-only. A function expects to write in its WORKDIR (compute.md 12.9), so each task starts
in a fresh folder that mirrors it: what is small is copied, the rest are links into the image.
Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

MOST_FILES = 512
MOST_BYTES = 8 << 20
_CHUNK = 1 << 20


class _Budget:
    """What may still be copied."""

    def __init__(self, files: int, size: int) -> None:
        self.files = files
        self.size = size

    def takes(self, files: int, size: int) -> bool:
        if files > self.files or size > self.size:
            return False
        self.files -= files
        self.size -= size
        return True


def mirror(source: str, target: str, files: int = MOST_FILES, size: int = MOST_BYTES) -> None:
    """Make the folder `target` look like `source`, and writable.

    Small files and small trees are copied, in the order of their names; large ones, virtual environments and
    everything that we may not read enter as links. A `source` that is missing gives an empty folder.
    """
    os.mkdir(target, 0o700)
    budget = _Budget(files, size)
    for entry in _entries(source):
        place = os.path.join(target, entry.name)
        if entry.is_symlink():
            _link(os.readlink(entry.path), place, source)
        elif entry.is_file() and budget.takes(1, entry.stat().st_size):
            _copy_or_link(entry.path, place)
        elif entry.is_dir() and budget.takes(*_weight(entry.path, budget)):
            _copy_tree(entry.path, place)
        else:
            os.symlink(entry.path, place)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []


def _weight(folder: str, budget: _Budget) -> tuple[int, int]:
    """Files and bytes below `folder`; more than the budget as soon as that is clear."""
    too_much = (budget.files + 1, budget.size + 1)
    files, size, waiting = 0, 0, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                entries = list(found)
        except OSError:
            return too_much
        for entry in entries:
            files += 1
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                size += entry.stat(follow_symlinks=False).st_size
            elif not entry.is_symlink():
                return too_much
            if entry.name == "pyvenv.cfg" or files > budget.files or size > budget.size:
                return too_much
    return files, size


def _copy_tree(source: str, target: str) -> None:
    os.mkdir(target, 0o700)
    for entry in _entries(source):
        place = os.path.join(target, entry.name)
        if entry.is_symlink():
            _link(os.readlink(entry.path), place, source)
        elif entry.is_dir():
            _copy_tree(entry.path, place)
        else:
            _copy_or_link(entry.path, place)


def _link(target: str, place: str, folder: str) -> None:
    """A link of the image: a relative one that leaves its folder keeps its meaning by becoming absolute."""
    if not os.path.isabs(target) and os.path.normpath(target).startswith(".."):
        target = os.path.normpath(os.path.join(folder, target))
    os.symlink(target, place)


def _copy_or_link(source: str, target: str) -> None:
    try:
        reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        os.symlink(source, target)  # not ours to read; the function is told so by the kernel
        return
    try:
        mode = stat.S_IMODE(os.fstat(reader).st_mode) & 0o777 | 0o600
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            while True:
                data = os.read(reader, _CHUNK)
                if not data:
                    break
                os.write(writer, data)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def publish(folder: str) -> None:
    """Let the runner, another user, read the regular files directly in `folder`; links are not followed."""
    for entry in _entries(folder):
        if not entry.is_file(follow_symlinks=False):
            continue
        try:
            os.chmod(entry.path, 0o644)
            continue
        except OSError:
            continue  # not ours: the runner finds out by itself


def empty(folders: Iterable[str]) -> list[str]:
    """Remove everything in these folders, not the folders; the paths that could not be removed.

    Only for when no other process of ours is left: nothing here withstands a race.
    """
    left: list[str] = []
    for folder in folders:
        for entry in _entries(folder):
            _remove(entry.path, left)
    return left


def _remove(path: str, left: list[str]) -> None:
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
        try:
            os.chmod(path, 0o700)
        except OSError:
            pass  # not our folder: its entries may still be ours to remove
        for entry in _entries(path):
            _remove(entry.path, left)
        os.rmdir(path)
    except FileNotFoundError:
        return
    except OSError:
        left.append(path)
