"""The storage protocol: streamed both ways, so that no file is ever whole in memory.

A *key* is a relative name such as `functions/<uuid>/archive`; its parts are letters, digits, `.`, `_`, `-`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self


class StoredFileMissing(Exception):
    """No file under this key."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of a file once it was written: size in bytes, SHA-256 of its bytes in hex."""

    key: str
    size: int
    checksum: str


class Writer(Protocol):
    """A file being written: invisible until `commit`, gone if the block ends without it."""

    def write(self, data: bytes | memoryview) -> None: ...

    def commit(self, key: str) -> Stored:
        """Put the file under `key`, durably, replacing what was there."""
        ...

    @property
    def path(self) -> Path:
        """The local file, for checks before `commit`; whole once the writer is closed."""
        ...

    @property
    def size(self) -> int: ...

    @property
    def checksum(self) -> str: ...

    def close(self) -> None:
        """No more will be written: everything is in the file and no descriptor is held. `commit` may follow."""
        ...

    def discard(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class Storage(Protocol):
    def writer(self) -> Writer: ...

    def adopt(self, path: Path, key: str) -> None:
        """Take a finished local file over as `key`; `path` is gone afterwards."""
        ...

    def local_path(self, key: str) -> Path:
        """An absolute path by which the file can be read.

        Raises:
            StoredFileMissing: there is none.
        """
        ...

    def size(self, key: str) -> int:
        """Bytes.

        Raises:
            StoredFileMissing: there is none.
        """
        ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Chunks of the file from byte `start`, at most `length` bytes; to the end when None.

        Raises:
            StoredFileMissing: there is none (at the call, before the first chunk).
        """
        ...

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Remove the file; nothing happens when it is not there."""
        ...

    def prune(self, older_than_s: float) -> int:
        """Remove temporary files untouched for so long, which a dead process left; returns how many."""
        ...

    def scratch(self) -> Path:
        """An existing folder on the same volume for temporary files; `adopt` from it is a rename."""
        ...
