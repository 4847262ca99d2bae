"""Reading the ring in which a runner keeps the last bytes of a growing log (its form: ray_jobs/tail.py)."""

import os
import struct
from pathlib import Path
from typing import Self

_HEAD = struct.Struct("<QQQQ")
_LONGEST = 1 << 30


class Tail:
    """One listener's place in a ring. An open one outlives its name, and can be read to its end."""

    def __init__(self, file: int, start: int, size: int) -> None:
        self._file = file
        self._start, self._size = start, size
        self._position = start

    @classmethod
    def beside(cls, log: Path, position: int) -> Self | None:
        """The ring of a log whose head ends at `position`; None when there is none (any more)."""
        try:
            file = os.open(
                log.with_name(f"{log.name}.tail"), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            )
        except OSError:
            return None
        head = os.pread(file, _HEAD.size, 0)
        if len(head) == _HEAD.size:
            start, size, _reserved, _end = _HEAD.unpack(head)
            if start == position and 0 < size <= _LONGEST:
                return cls(file, start, size)
        os.close(file)
        return None

    def read(self, most: int) -> bytes:
        """What comes next, `most` bytes of the log at most; nothing when there is no more yet.

        What was overwritten before it could be read is replaced by a line that says how much it was.
        """
        reserved, end = self._said()
        missing = max(0, reserved - self._size - self._position)
        if missing:
            self._position += missing
        place = (self._position - self._start) % self._size
        count = max(0, min(most, self._size - place, end - self._position))
        data = os.pread(self._file, count, _HEAD.size + place) if count else b""
        reserved, _end = self._said()
        late = max(0, min(len(data), reserved - self._size - self._position))
        self._position += len(data)
        missing, data = missing + late, data[late:]
        if missing:
            note = (
                f"\n[... {missing} bytes left out: they came faster than they could be read ...]\n"
            )
            return note.encode() + data
        return data

    def close(self) -> None:
        os.close(self._file)

    def _said(self) -> tuple[int, int]:
        _start, _size, reserved, end = _HEAD.unpack(os.pread(self._file, _HEAD.size, 0))
        return reserved, end
