"""Files being written: on this machine's disk until they are whole, hashed while they grow."""

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

from backend.ports.storage.protocol import CHUNK, Stored


class SpooledWriter:
    """See `storage.protocol.Writer`. `publish(path, stored)` takes the finished file over."""

    def __init__(self, path: Path, publish: Callable[[Path, Stored], None]) -> None:
        self._path = path
        self._publish = publish
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
        stored = Stored(key, self._size, self.checksum)
        self._publish(self._path, stored)
        self._ended = True
        return stored

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


def prune(folder: Path, older_than_s: float) -> int:
    """Remove what nobody touched for so long; returns how many entries."""
    limit, removed = time.time() - older_than_s, 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < limit:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed += 1
    return removed


def sync(path: Path) -> None:
    """Durable: the bytes of a file, the names of a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
