"""A task's log: both streams merged, the first and the last MiB kept, never the whole in memory."""

import os
from collections import deque
from pathlib import Path

HEAD_BYTES = 1 << 20
TAIL_BYTES = 1 << 20


class LogCapture:
    """The head goes to the file as it comes; the tail waits in memory until `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = path.open("wb", buffering=0)
        self._head_left = HEAD_BYTES
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._dropped = 0
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)

    def started(self) -> None:
        """The function's tree has the writing end now: ours is closed, so that its end can be seen."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def drain(self) -> bool:
        """Take what the pipe holds; False at its end."""
        while True:
            try:
                data = os.read(self.reader, 1 << 16)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.add(data)

    def add(self, data: bytes) -> None:
        """Append to the log."""
        if self._head_left:
            self._file.write(data[: self._head_left])
            head = min(self._head_left, len(data))
            self._head_left -= head
            data = data[head:]
        if data:
            self._tail.append(data)
            self._tail_size += len(data)
        while self._tail_size - len(self._tail[0] if self._tail else b"") >= TAIL_BYTES:
            oldest = self._tail.popleft()
            self._tail_size -= len(oldest)
            self._dropped += len(oldest)

    def say(self, text: str) -> None:
        """A line of ours, for the user."""
        self.add(f"{text}\n".encode())

    def close(self) -> None:
        """Write the tail, with a marker where something is missing between."""
        self.started()
        os.close(self.reader)
        tail = b"".join(self._tail)
        beyond = max(0, len(tail) - TAIL_BYTES)
        dropped = self._dropped + beyond
        if dropped:
            self._file.write(f"\n[... {dropped} bytes of the log left out ...]\n".encode())
        self._file.write(tail[beyond:])
        self._file.close()
