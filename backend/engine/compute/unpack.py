"""Unpack a data sample's archive into a folder of its own, and the folder hash (compute.md 3.5, 9.4).

The archive was checked at upload; it is read here as if it had not been.
"""

import hashlib
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

MOST_BYTES = 64 * 1024**3
MOST_ENTRIES = 1_000_000
CHUNK = 1024 * 1024


class Damaged(Exception):
    """Not an archive, or one with something that has no place in a data sample."""


def unpack(archive: Path, target: Path) -> None:
    """Unpack regular files and folders of a zip or tar; `target` exists and is empty.

    Raises:
        Damaged: another format, an entry that leaves the folder, a link, a device, or too much of anything.
    """
    try:
        if zipfile.is_zipfile(archive):
            entries = _zip(archive)
        elif tarfile.is_tarfile(archive):
            entries = _tar(archive)
        else:
            raise Damaged("neither a zip nor a tar")
        _write(entries, target)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise Damaged(str(error) or repr(error)) from None


def folder_hash(folder: Path) -> str:
    """SHA-256 over the sorted SHA-256 (hex) of each file's content; names and layout do not count."""
    digests = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    total = hashlib.sha256()
    for digest in sorted(digests):
        total.update(digest.encode())
    return total.hexdigest()


Entry = tuple[str, IO[bytes] | None]


def _zip(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = info.external_attr >> 28
            if kind not in (0, 0o4, 0o10):
                raise Damaged(f"{info.filename!r} is a link or a device")
            if info.is_dir():
                yield info.filename, None
            else:
                with opened.open(info) as content:
                    yield info.filename, content


def _tar(archive: Path) -> Iterator[Entry]:
    with tarfile.open(archive, "r:*") as opened:
        for member in opened:
            if member.isdir():
                yield member.name, None
            elif member.isreg():
                content = opened.extractfile(member)
                if content is None:
                    raise Damaged(f"{member.name!r} cannot be read")
                yield member.name, content
            else:
                raise Damaged(f"{member.name!r} is a link or a device")


def _write(entries: Iterator[Entry], target: Path) -> None:
    left = MOST_BYTES
    for count, (name, content) in enumerate(entries):
        if count >= MOST_ENTRIES:
            raise Damaged("too many entries")
        parts = [part for part in PurePosixPath(name).parts if part != "."]
        if PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name or "\0" in name:
            raise Damaged(f"{name!r} leaves the folder")
        if not parts:
            continue
        path = target.joinpath(*parts)
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            while data := content.read(CHUNK):
                left -= len(data)
                if left < 0:
                    raise Damaged("the content is too large")
                file.write(data)
