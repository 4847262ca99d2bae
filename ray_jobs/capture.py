"""A task's log: both streams merged, its head and its tail kept, never the whole in memory."""

import os
from pathlib import Path

from ray_jobs.tail import Tail

HEAD_BYTES = 1 << 20
TAIL_BYTES = 1 << 20
_PIECE = 1 << 16
_LAST_BYTES = 2048
_PIECES = 64  # read at a time: a flood must not keep the runner from cancels and time limits


class LogCapture:
    """The head goes to the file as it comes, what follows to a `Tail` beside it, which joins it at `close`."""

    def __init__(
        self, path: Path, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES
    ) -> None:
        self.path = path
        self._tail_bytes = tail_bytes
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = path.open("wb", buffering=0)
        self._head_left = head_bytes
        self._head_bytes = head_bytes
        self._tail: Tail | None = None
        self._dropped = 0
        self._last = b""
        self._open()

    def _open(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)

    def again(self) -> None:
        """A new pipe, after a start that did not come about."""
        self.started()
        os.close(self.reader)
        self._open()

    def started(self) -> None:
        """The function's tree has the writing end now: ours is closed, so that its end can be seen."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def drain(self) -> bool:
        """Take what the pipe holds, a few MiB at most; False at its end."""
        for _ in range(_PIECES):
            try:
                data = os.read(self.reader, _PIECE)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.add(data)
        return True

    def add(self, data: bytes) -> None:
        """Append to the log."""
        self._last = (
            (self._last + data)[-_LAST_BYTES:] if len(data) < _LAST_BYTES else data[-_LAST_BYTES:]
        )
        if self._head_left:
            self._file.write(data[: self._head_left])
            head = min(self._head_left, len(data))
            self._head_left -= head
            data = data[head:]
        if data and not self._tail_bytes:
            self._dropped += len(data)
        elif data:
            if self._tail is None:
                self._tail = Tail(self.path, self._head_bytes, self._tail_bytes)
            self._tail.add(data)

    def ends_with_any(self, words: tuple[bytes, ...]) -> bool:
        """Whether one of these is among the last KiB that came."""
        return any(word in self._last for word in words)

    def say(self, text: str) -> None:
        """A line of ours, for the user."""
        self.add(f"{text}\n".encode())

    def close(self) -> None:
        """Write the tail, with a marker where something is missing between."""
        self.started()
        os.close(self.reader)
        dropped = self._dropped + (self._tail.dropped if self._tail else 0)
        try:
            if dropped:
                self._file.write(f"\n[... {dropped} bytes of the log left out ...]\n".encode())
            for data in self._tail.content() if self._tail else ():
                self._file.write(data)
        finally:
            self._file.close()
            if self._tail:
                self._tail.close()
