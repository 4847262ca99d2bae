"""What we do with archives: check them, hash their content, unpack them."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from backend.assets.archives.errors import LINKS, ArchiveRefused, NotAnArchive
from backend.assets.archives.reading import CHUNK, Entry, Kind, Limits, entries, is_zip

Pulse = Callable[[], None]
"""Called between pieces of long work; what it raises ends the work."""


@dataclass(frozen=True, slots=True)
class Content:
    """`raw_names_at_root`: names without a slash as they are written, at most 1,000 of them."""

    entries: int
    files: int
    raw_names_at_root: frozenset[str]
    folder_hash: str


def check(path: Path, limits: Limits | None = None) -> Content:
    """Read a whole archive once.

    Raises:
        NotAnArchive, ArchiveRefused: as `reading.entries` says, or a hard link to no earlier file.
    """
    names: set[str] = set()
    count = 0
    digests: dict[str, bytes] = {}
    for entry in entries(path, limits):
        count += 1
        if entry.kind is not Kind.DIRECTORY and "/" not in entry.raw and len(names) < 1_000:
            names.add(entry.raw)
        if entry.kind is Kind.FILE:
            digests[entry.path] = _digest(entry)
        elif entry.kind is Kind.HARD_LINK:
            digests[entry.path] = _linked(digests, entry)
    return Content(count, len(digests), frozenset(names), _combined(digests.values()))


def is_tar(path: Path) -> bool:
    """Whether the file is a tar, of any compression, with at least one entry; a look at its beginning."""
    if is_zip(path):
        return False
    try:
        return next(entries(path), None) is not None
    except ArchiveRefused as error:  # of a link, for example, whoever unpacks it says so
        return not isinstance(error, NotAnArchive)


def folder_hash(folder: Path, pulse: Pulse = lambda: None) -> str:
    """The checksum of a data sample (rest-api.md 10.2): names and layout do not matter.

    SHA-256 in hex of each regular file, sorted, concatenated, and SHA-256 of that. Links are no files.
    """
    digests = []
    for root, _, files in os.walk(folder):
        for name in files:
            file = Path(root, name)
            if file.is_file() and not file.is_symlink():
                digests.append(_file_digest(file, pulse))
    return _combined(digests)


def unpack(
    path: Path, target: Path, limits: Limits | None = None, pulse: Pulse = lambda: None
) -> str:
    """Write an archive's content below `target`, an existing empty folder; returns its `folder_hash`.

    Files get mode 0644 (0755 when executable). After an error the folder is empty again.

    Raises:
        NotAnArchive, ArchiveRefused: as `check` says. OSError: no space. Whatever `pulse` raises.
    """
    digests: dict[str, bytes] = {}
    try:
        for entry in entries(path, limits):
            pulse()
            destination = target / entry.path
            if entry.kind is Kind.DIRECTORY:
                destination.mkdir(parents=True, exist_ok=True)
                continue
            destination.parent.mkdir(parents=True, exist_ok=True)
            if entry.kind is Kind.HARD_LINK:
                if not entry.target or not (target / entry.target).is_file():
                    raise ArchiveRefused(LINKS)
                shutil.copyfile(target / entry.target, destination)
                digests[entry.path] = digests[entry.target]
            else:
                digests[entry.path] = _written(entry, destination, pulse)
            destination.chmod(0o755 if entry.executable else 0o644)
    except BaseException:
        for leftover in target.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        raise
    return _combined(digests.values())


def _written(entry: Entry, destination: Path, pulse: Pulse) -> bytes:
    """Write a file and hash it on the way: large samples are read once."""
    digest = hashlib.sha256()
    with destination.open("xb") as file:
        for chunk in entry.chunks():
            digest.update(chunk)
            file.write(chunk)
            pulse()
    return digest.digest()


def _file_digest(path: Path, pulse: Pulse) -> bytes:
    digest, buffer = hashlib.sha256(), bytearray(CHUNK)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(memoryview(buffer)[:size])
            pulse()
    return digest.digest()


def _digest(entry: Entry) -> bytes:
    digest = hashlib.sha256()
    for chunk in entry.chunks():
        digest.update(chunk)
    return digest.digest()


def _linked(digests: dict[str, bytes], entry: Entry) -> bytes:
    if entry.target not in digests:
        raise ArchiveRefused(LINKS)
    return digests[entry.target]


def _combined(digests: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for digest in sorted(digests):
        total.update(digest.hex().encode())
    return total.hexdigest()
