"""The last bytes of a growing log in a file of fixed size, for whoever reads along.

`<log>.tail` holds four unsigned 64-bit numbers, little-endian: `start` (the position in the log of the first
byte that ever came here), `size` of the ring, `reserved` and `end`; then the ring, where the byte at position p
lies at (p - start) % size. A writer says first how far it will write (`reserved`), then writes, then says
`end`: what a reader has read is whole if it lies beyond `reserved` - `size` afterwards. The reader is in
backend/engine/task_logs.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

HEAD = struct.Struct("<QQQQ")
_PIECE = 1 << 16


def tail_of(log: Path) -> Path:
    return log.with_name(f"{log.name}.tail")


class Tail:
    """The writer's side; `size` is at least 1."""

    def __init__(self, log: Path, start: int, size: int) -> None:
        self._path = tail_of(log)
        self._start, self._size, self._end = start, size, start
        beside = self._path.with_name(f"{self._path.name}.new")
        self._file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._say(start)
        beside.rename(self._path)

    @property
    def dropped(self) -> int:
        """How many bytes are no longer here."""
        return max(0, self._end - self._start - self._size)

    def add(self, data: bytes) -> None:
        """Append. Raises OSError when the disk is full."""
        self._say(self._end + len(data))
        self._end += len(data)
        kept = memoryview(data)[-self._size :]
        place = (self._end - len(kept) - self._start) % self._size
        first = kept[: self._size - place]
        _write(self._file, first, HEAD.size + place)
        _write(self._file, kept[len(first) :], HEAD.size)
        self._say(self._end)

    def content(self) -> Iterator[bytes]:
        """What is here, oldest first."""
        position = self._start + self.dropped
        while position < self._end:
            place = (position - self._start) % self._size
            count = min(_PIECE, self._size - place, self._end - position)
            yield os.pread(self._file, count, HEAD.size + place)
            position += count

    def close(self) -> None:
        """Remove it; readers that have it open read on to its end."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)

    def _say(self, reserved: int) -> None:
        os.pwrite(self._file, HEAD.pack(self._start, self._size, reserved, self._end), 0)


def _write(file: int, data: memoryview, place: int) -> None:
    while data:
        written = os.pwrite(file, data, place)
        data, place = data[written:], place + written
