"""Following a log while it is written, as server-sent events.

The file is looked at four times a second, the task's row once. An open file outlives its name: the end of a log
is read although the folder of its lease is gone by then. What a task says beyond the head of its log is read
from a ring beside it (tails.py): a listener who is too slow for it is told how much is missing.
"""

import asyncio
import codecs
import io
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import orjson
from anyio import CapacityLimiter, to_thread

from backend.assets.tasks.states import FINAL
from backend.engine.task_logs.store import Logged
from backend.engine.task_logs.tails import Tail

LOOK_S = 0.25
ROW_S = 1.0
ALIVE_S = 10.0
CHUNK = 64 * 1024


def event(name: str, data: object) -> bytes:
    """One server-sent event; `data` is JSON, so that no line of a log can be taken for the protocol."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


class Following:
    """One log, for one listener.

    `look` reads the task's row anew, `path` is where the log of a row lies (None: nowhere yet), `ended` tells
    whether this process wants to stop.
    """

    def __init__(
        self,
        look: Callable[[], Logged | None],
        path: Callable[[Logged], Path | None],
        ended: Callable[[], bool],
        limiter: CapacityLimiter,
    ) -> None:
        self._look = look
        self._path = path
        self._ended = ended
        self._limiter = limiter
        self._file: io.FileIO | None = None
        self._tail: Tail | None = None
        self._place: Path | None = None
        self._token: str | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    async def events(self) -> AsyncIterator[bytes]:
        """`log` events with text, `attempt` when a lost task starts again, `end` with the task's status.

        `now` comes once, when all that was there at the beginning has been told.
        """
        spoke, told = time.monotonic(), False
        try:
            while not self._ended():
                row = await to_thread.run_sync(self._look, limiter=self._limiter)
                if row is None:
                    return
                last = row.status in set(FINAL)
                if self._moved(row):
                    yield event("attempt", {})
                until = time.monotonic() + (0 if last else ROW_S)
                while True:
                    while data := await to_thread.run_sync(self._read, limiter=self._limiter):
                        yield event("log", self._decoder.decode(data))
                        spoke = time.monotonic()
                        if spoke >= until and not last:
                            break  # a flood must not hide that the task has ended
                    if not told:
                        told = True
                        yield event("now", {"status": row.status})
                    if time.monotonic() >= until or self._ended():
                        break
                    if time.monotonic() - spoke > ALIVE_S:
                        yield b": still here\n\n"
                        spoke = time.monotonic()
                    await asyncio.sleep(LOOK_S)
                if last:
                    yield event("end", {"status": row.status})
                    return
        finally:
            self._close()

    def _moved(self, row: Logged) -> bool:
        """Open what this row's lease writes; True when an earlier lease's log was followed so far."""
        if self._file is not None and row.lock_token == self._token:
            return False
        path = self._path(row)
        if path is None:
            return False
        again = self._file is not None
        with suppress(OSError):
            file = path.open("rb", buffering=0)
            self._close()
            self._file, self._token, self._place = file, row.lock_token, path
            self._decoder.reset()
            return again
        return False

    def _read(self) -> bytes:
        if self._tail is not None:
            return self._tail.read(CHUNK)
        if self._file is None or self._place is None:
            return b""
        data = self._file.read(CHUNK)
        if data:
            return data
        self._tail = Tail.beside(self._place, self._file.tell())
        return self._tail.read(CHUNK) if self._tail is not None else b""

    def _close(self) -> None:
        if self._tail is not None:
            self._tail.close()
            self._tail = None
        if self._file is not None:
            self._file.close()
            self._file = None
