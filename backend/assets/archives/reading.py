"""One way to walk through an archive, whatever its format: every entry checked, nothing held in memory.

Refused are (compute.md 9.4): paths that leave the target, links that leave it, symbolic links, devices and
other special files, encrypted entries, duplicate names (also those that differ in case or Unicode form only),
too many entries, too much content, damaged content.
"""

import posixpath
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from backend.assets.archives.errors import (
    DUPLICATES,
    NAMES,
    TOO_LARGE,
    TOO_MANY,
    TRAVERSAL,
    ArchiveRefused,
)

CHUNK = 256 * 1024


class Kind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    HARD_LINK = "hard link"  # only to an earlier file of the same archive


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold. `ratio` counts only beyond `free` unpacked bytes."""

    entries: int = 100_000
    unpacked: int = 20 * 1024**3  # bytes
    ratio: int = 100  # unpacked bytes per byte of the archive
    free: int = 1024**3  # bytes

    def bytes_of(self, archive_size: int) -> int:
        """How many bytes an archive of this size may unpack to."""
        return min(self.unpacked, max(self.free, archive_size * self.ratio))


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `raw` is its name as written, `path` the normal form below the target ("" is the target).

    `chunks()` reads a file's content and is valid only until the next entry is asked for.
    """

    raw: str
    path: str
    kind: Kind
    size: int
    executable: bool
    chunks: Callable[[], Iterator[bytes]]
    target: str = ""  # of a hard link: the path of the file it repeats


def is_zip(path: Path) -> bool:
    """Whether the file begins as a zip does."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def entries(path: Path, limits: Limits | None = None) -> Iterator[Entry]:
    """The archive's entries in their order.

    Raises:
        NotAnArchive: neither zip nor tar, or damaged. ArchiveRefused: not harmless.
    """
    from backend.assets.archives.tars import tar_entries
    from backend.assets.archives.zips import zip_entries

    limits = limits or Limits()
    walk = zip_entries if is_zip(path) else tar_entries
    return _guarded(walk(path, limits), limits, limits.bytes_of(path.stat().st_size))


_DIRECTORY = -1


def _guarded(found: Iterator[Entry], limits: Limits, most: int) -> Iterator[Entry]:
    sizes: dict[str, int] = {}  # folded path → bytes, or _DIRECTORY
    parents: set[str] = set()
    total = 0
    for count, entry in enumerate(found, 1):
        if count > limits.entries:
            raise ArchiveRefused(TOO_MANY)
        _refuse_collision(entry, sizes, parents)
        if entry.kind is Kind.HARD_LINK:  # unpacked as a copy
            repeated = max(0, sizes.get(_folded(entry.target), 0))
            sizes[_folded(entry.path)] = repeated
            total += repeated
        total += entry.size
        if total > most:
            raise ArchiveRefused(TOO_LARGE)
        yield entry


def _refuse_collision(entry: Entry, sizes: dict[str, int], parents: set[str]) -> None:
    """A path may appear once; a directory may be repeated, and may not be a file elsewhere."""
    name = _folded(entry.path)
    is_directory = entry.kind is Kind.DIRECTORY
    if name in sizes and not (is_directory and sizes[name] == _DIRECTORY):
        raise ArchiveRefused(DUPLICATES)
    if not is_directory and (not entry.path or name in parents):
        raise ArchiveRefused(DUPLICATES)
    sizes[name] = _DIRECTORY if is_directory else entry.size
    parent = posixpath.dirname(name)
    while parent and parent not in parents:
        if sizes.get(parent, _DIRECTORY) != _DIRECTORY:
            raise ArchiveRefused(DUPLICATES)
        parents.add(parent)
        parent = posixpath.dirname(parent)


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def below_target(name: str) -> str:
    """The normal form of an entry's name: relative, without `.` and `..`.

    Raises:
        ArchiveRefused: it leaves the target, or no file system can hold it.
    """
    if "\0" in name or len(name) > 4096 or name.count("/") > 256:
        raise ArchiveRefused(NAMES)
    windows = name.replace("\\", "/")
    for form in (name, windows):
        normal = posixpath.normpath(form)
        drive = len(form) > 1 and form[1] == ":" and form[0].isalpha() and form[2:3] == "/"
        if form.startswith("/") or drive or normal == ".." or normal.startswith("../"):
            raise ArchiveRefused(TRAVERSAL)
    normal = posixpath.normpath(name)
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in normal.split("/")):
        raise ArchiveRefused(NAMES)
    return "" if normal == "." else normal
