"""Storage on a local volume: temporary file, fsync, atomic rename, fsync of the folder."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from backend.kit.crash_points import crash_points
from backend.ports.storage.protocol import Stored, StoredFileMissing

CHUNK = 256 * 1024
_PART = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$")


class FilesystemStorage:
    """Files below `<root>/objects`, temporary ones below `<root>/incoming` (same volume)."""

    def __init__(self, root: Path) -> None:
        self._objects = root / "objects"
        self._incoming = root / "incoming"
        for folder in (self._objects, self._incoming):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def writer(self) -> "FileWriter":
        return FileWriter(self, self._incoming / uuid.uuid4().hex)

    def adopt(self, path: Path, key: str) -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        self._place(path, self._target(key))

    def local_path(self, key: str) -> Path:
        path = self._target(key)
        if not path.is_file():
            raise StoredFileMissing(key)
        return path

    def size(self, key: str) -> int:
        try:
            return self._target(key).stat().st_size
        except FileNotFoundError:
            raise StoredFileMissing(key) from None

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        try:
            file = self._target(key).open("rb", buffering=0)
        except FileNotFoundError:
            raise StoredFileMissing(key) from None
        return _chunks(file, start, length)

    def exists(self, key: str) -> bool:
        return self._target(key).is_file()

    def delete(self, key: str) -> None:
        target = self._target(key)
        target.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another file of the asset is still there
            target.parent.rmdir()

    def scratch(self) -> Path:
        return self._incoming

    def prune(self, older_than_s: float) -> int:
        limit, removed = time.time() - older_than_s, 0
        for path in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_mtime < limit:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                    removed += 1
        return removed

    def _target(self, key: str) -> Path:
        parts = key.split("/")
        if not all(_PART.fullmatch(part) for part in parts):
            raise ValueError(f"not a storage key: {key!r}")
        return self._objects.joinpath(*parts)

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
                    _sync(beside)
                    source.unlink()
                    source = beside
                elif error.errno != errno.ENOENT or not source.exists():
                    raise
        else:
            raise OSError(errno.ENOENT, "the folder of the object keeps vanishing", str(target))
        _sync(target.parent)
        _sync(target.parent.parent)
        crash_points.reach("store", bucket, "after")


class FileWriter:
    """Hashes while it writes; see `storage.protocol.Writer`."""

    def __init__(self, storage: FilesystemStorage, path: Path) -> None:
        self._storage = storage
        self._path = path
        self._file: BinaryIO | None = path.open("xb", buffering=CHUNK)
        self._ended = False  # committed or discarded
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes | memoryview) -> None:
        if self._file is None:
            raise ValueError("this file is already closed, committed or discarded")
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    @property
    def path(self) -> Path:
        return self._path

    @property
    def size(self) -> int:
        return self._size

    @property
    def checksum(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def commit(self, key: str) -> Stored:
        if self._ended:
            raise ValueError("this file is already committed or discarded")
        self.close()
        _sync(self._path)
        self._ended = True
        self._storage._place(self._path, self._storage._target(key))
        return Stored(key, self._size, self.checksum)

    def discard(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk refuses the last buffer too
                self._file.close()
            self._file = None
        self._ended = True
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.discard()


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
