"""Storage on a local volume: temporary file, fsync, atomic rename, fsync of the folder."""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from backend.kit.crash_points import crash_points
from backend.ports.storage.protocol import (
    CHUNK,
    Described,
    Stored,
    StoredFileMissing,
    WrongContent,
    key_parts,
)
from backend.ports.storage.spooling import SpooledWriter, prune, sync


class FilesystemStorage:
    """Files below `<root>/objects`, temporary ones below `<root>/incoming` (same volume)."""

    is_local = True

    def __init__(self, root: Path) -> None:
        self._objects = root / "objects"
        self._incoming = root / "incoming"
        self.prepare()

    def prepare(self) -> None:
        for folder in (self._objects, self._incoming):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def writer(self) -> SpooledWriter:
        return SpooledWriter(self._incoming / uuid.uuid4().hex, self._publish)

    def put(self, key: str, pieces: Iterable[bytes], checksum: str | None = None) -> Stored:
        with self.writer() as writer:
            for piece in pieces:
                writer.write(piece)
            if checksum not in (None, writer.checksum):
                raise WrongContent(f"{key}: other bytes than announced")
            return writer.commit(key)

    def adopt(self, path: Path, key: str) -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        self._place(path, self._target(key))

    def copy(self, source: str, target: str) -> None:
        beside = self._incoming / uuid.uuid4().hex
        try:
            shutil.copyfile(self.local_path(source), beside)
            self.adopt(beside, target)
        finally:
            beside.unlink(missing_ok=True)

    def place(self, key: str) -> Path | None:
        return self._target(key)

    def local_path(self, key: str) -> Path:
        path = self._target(key)
        if not path.is_file():
            raise StoredFileMissing(key)
        return path

    def describe(self, key: str) -> Described:
        try:
            status = self._target(key).stat()
        except FileNotFoundError:
            raise StoredFileMissing(key) from None
        return Described(status.st_size, f"{status.st_mtime_ns:x}-{status.st_ino:x}")

    def size(self, key: str) -> int:
        return self.describe(key).size

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        try:
            file = self._target(key).open("rb", buffering=0)
        except FileNotFoundError:
            raise StoredFileMissing(key) from None
        return _chunks(file, start, length)

    def exists(self, key: str) -> bool:
        return self._target(key).is_file()

    def keys(self, folder: str = "") -> Iterator[str]:
        top = self._target(folder) if folder else self._objects
        found = (path for path in top.rglob("*") if path.is_file())
        return iter(sorted(str(path.relative_to(self._objects)) for path in found))

    def delete(self, key: str) -> None:
        target, kind = self._target(key), f"{key_parts(key)[0]}-delete"
        crash_points.reach("store", kind, "before")
        target.unlink(missing_ok=True)
        crash_points.reach("store", kind, "after")
        with contextlib.suppress(OSError):  # another file of the asset is still there
            target.parent.rmdir()

    def download_url(self, key: str, expires_s: int) -> None:
        """None: a file of this machine has no URL."""

    def upload_url(self, key: str, expires_s: int) -> None:
        """None: a file of this machine has no URL."""

    def scratch(self) -> Path:
        return self._incoming

    def prune(self, older_than_s: float) -> int:
        return prune(self._incoming, older_than_s)

    def _target(self, key: str) -> Path:
        return self._objects.joinpath(*key_parts(key))

    def _publish(self, path: Path, stored: Stored) -> None:
        sync(path)
        self._place(path, self._target(stored.key))

    def _place(self, source: Path, target: Path) -> None:
        """Rename into place; a concurrent `delete` may take the folder away in between."""
        bucket = target.relative_to(self._objects).parts[0]
        crash_points.reach("store", bucket, "before")
        for _ in range(3):
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                source.replace(target)
                break
            except OSError as error:
                if error.errno == errno.EXDEV:  # another volume: copy beside the target first
                    beside = self._incoming / uuid.uuid4().hex
                    shutil.copyfile(source, beside)
                    sync(beside)
                    source.unlink()
                    source = beside
                elif error.errno != errno.ENOENT or not source.exists():
                    raise
        else:
            raise OSError(errno.ENOENT, "the folder of the object keeps vanishing", str(target))
        sync(target.parent)
        sync(target.parent.parent)
        crash_points.reach("store", bucket, "after")


def _chunks(file: BinaryIO, start: int, length: int | None) -> Iterator[bytes]:
    with file:
        file.seek(start)
        left = length
        while left is None or left > 0:
            data = file.read(CHUNK if left is None else min(CHUNK, left))
            if not data:
                return
            if left is not None:
                left -= len(data)
            yield data
