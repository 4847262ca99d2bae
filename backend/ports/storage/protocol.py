"""The storage protocol: streamed both ways, so that no file is ever whole in memory.

A *key* is a relative name such as `functions/<uuid>/archive`; its parts are letters, digits, `.`, `_`, `-`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from backend.kit.errors import Overloaded

CHUNK = 256 * 1024
_PART = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}\Z")


class StoredFileMissing(Exception):
    """No file under this key."""


class WrongContent(ValueError):
    """The bytes that came are not those that were announced; nothing was stored."""


class StorageUnavailable(Overloaded, OSError):
    """The store does not answer, or refuses us: try again. An API answers 503; `cause` is for the log."""

    def __init__(self, cause: str) -> None:
        super().__init__()
        self.cause = cause

    def __str__(self) -> str:
        return self.cause


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of a file once it was written: size in bytes, SHA-256 of its bytes in hex."""

    key: str
    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Described:
    """A stored file from outside: size in bytes, and a tag that changes when its bytes do."""

    size: int
    etag: str


def key_parts(key: str) -> list[str]:
    """The folders and the name of a key. Raises ValueError for everything that is no key."""
    parts = key.split("/")
    if not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(f"not a storage key: {key!r}")
    return parts


class Writer(Protocol):
    """A file being written: invisible until `commit`, gone if the block ends without it."""

    def write(self, data: bytes | memoryview) -> None: ...

    def commit(self, key: str) -> Stored:
        """Put the file under `key`, durably, replacing what was there.

        Raises:
            StorageUnavailable: not now; the written file is still here and `commit` may be called again.
        """
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
    """Where files of one organization lie. Thread-safe; several processes may use the same store.

    Every method but `scratch` and `prune` may raise StorageUnavailable.
    """

    @property
    def is_local(self) -> bool:
        """The files are on this machine: `local_path` costs nothing. If not, pass on what `read` gives."""
        ...

    def prepare(self) -> None:
        """Make the store ready for its first file (a bucket, folders); done before is as good."""
        ...

    def writer(self) -> Writer: ...

    def put(self, key: str, pieces: Iterable[bytes], checksum: str | None = None) -> Stored:
        """Stream `pieces` under `key`, replacing what was there; visible when all of them are stored.

        Raises:
            WrongContent: their SHA-256 is not `checksum`; nothing was stored.
        """
        ...

    def adopt(self, path: Path, key: str) -> None:
        """Take a finished local file over as `key`; `path` is gone afterwards."""
        ...

    def copy(self, source: str, target: str) -> None:
        """The same bytes under `target` too, replacing what was there; they do not pass through this process.

        Raises:
            StoredFileMissing: there is no `source`.
        """
        ...

    def place(self, key: str) -> Path | None:
        """Where the file will be once it is stored; None where files are on no disk of this machine."""
        ...

    def local_path(self, key: str) -> Path:
        """An absolute path by which the file can be read.

        Raises:
            StoredFileMissing: there is none.
        """
        ...

    def describe(self, key: str) -> Described:
        """Size and tag, without its bytes.

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

    def keys(self, folder: str = "") -> Iterator[str]:
        """All keys below a folder such as `functions/<uuid>`, or all of the store, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove the file; nothing happens when it is not there."""
        ...

    def download_url(self, key: str, expires_s: int) -> str | None:
        """A URL by which whoever holds it may GET the file, ranges too, for so long; no credentials needed.

        None when this store has no such thing: then `local_path` is the way.
        """
        ...

    def upload_url(self, key: str, expires_s: int) -> str | None:
        """A URL by which whoever holds it may PUT one file of at most 5 GiB; None as above.

        What arrives that way is unchecked: compare its checksum before it is used.
        """
        ...

    def prune(self, older_than_s: float) -> int:
        """Remove temporary files untouched for so long, which a dead process left; returns how many."""
        ...

    def scratch(self) -> Path:
        """An existing folder on the same volume for temporary files; `adopt` from it is a rename."""
        ...
