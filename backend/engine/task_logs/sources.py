"""Where a growing log is read from: a runner's file of this machine, or what a pod has sent so far.

A pod sends its whole log anew every other second while its function speaks, under the key of its lease; the
text is that of a finished log: the head, a mark that says how much is missing, the last bytes.
"""

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self

from backend.engine.task_logs.tails import Tail
from backend.ports.storage import Storage, StoredFileMissing

CHUNK = 64 * 1024
LOOK_STORED_S = 1.0
_MARK = re.compile(rb"\n\[\.\.\. (\d{1,18}) bytes of the log left out \.\.\.\]\n")
_LONGEST_MARK = 80


class Source(Protocol):
    """One log, for one listener."""

    def read(self) -> bytes:
        """What comes next; nothing when there is no more yet."""
        ...

    def close(self) -> None: ...


class FileSource:
    """A runner's file, and the ring beside it. An open one outlives its name, and is read to its end."""

    def __init__(self, path: Path) -> None:
        """Raises OSError: there is none (yet)."""
        self._path = path
        self._file = path.open("rb", buffering=0)
        self._tail: Tail | None = None

    @classmethod
    def open(cls, path: Path | None) -> Self | None:
        if path is not None:
            with suppress(OSError):
                return cls(path)
        return None

    def read(self) -> bytes:
        if self._tail is not None:
            return self._tail.read(CHUNK)
        data = self._file.read(CHUNK)
        if data:
            return data
        self._tail = Tail.beside(self._path, self._file.tell())
        return self._tail.read(CHUNK) if self._tail is not None else b""

    def close(self) -> None:
        if self._tail is not None:
            self._tail.close()
        self._file.close()


class StoredSource:
    """What a pod has sent, under the first of `keys` that there is: the lease's, then those of the end.

    `head_bytes` is how much of its beginning every log has. Raises StorageUnavailable at `read`.
    """

    def __init__(self, storage: Storage, keys: Sequence[str], head_bytes: int) -> None:
        self._storage = storage
        self._keys = keys
        self._head_bytes = head_bytes
        self._position = 0  # in the log as the function wrote it
        self._waiting: list[bytes] = []
        self._seen: tuple[str, str] | None = None
        self._next = 0.0

    def read(self) -> bytes:
        if not self._waiting and time.monotonic() >= self._next:
            self._waiting = self._look()
            self._next = time.monotonic() + LOOK_STORED_S
        return self._waiting.pop(0) if self._waiting else b""

    def close(self) -> None:
        self._waiting.clear()

    def _look(self) -> list[bytes]:
        for key in self._keys:
            with suppress(StoredFileMissing):
                tag = self._storage.describe(key).etag
                if self._seen == (key, tag):
                    return []
                pieces = self._new(key)
                self._seen = (key, tag)
                return pieces
        return []

    def _new(self, key: str) -> list[bytes]:
        """What of this text was not read yet; what cannot be read any more is named."""
        start = min(self._position, self._head_bytes)
        data = b"".join(self._storage.read(key, start))
        head, beyond = data[: self._head_bytes - start], data[self._head_bytes - start :]
        mark = _MARK.match(beyond[:_LONGEST_MARK])
        first = self._head_bytes
        pieces = [head]
        if mark:
            first, beyond = first + int(mark.group(1)), beyond[mark.end() :]
            missing = first - max(self._position, self._head_bytes)
            if missing > 0:
                pieces.append(f"\n[... {missing} bytes of the log left out ...]\n".encode())
        pieces.append(beyond[max(0, self._position - first) :])
        self._position = max(
            self._position, start + len(head), first + len(beyond) if beyond else 0
        )
        return [
            piece[begin : begin + CHUNK]
            for piece in pieces
            for begin in range(0, len(piece), CHUNK)
        ]
