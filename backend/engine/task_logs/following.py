"""Following a log while it is written, as server-sent events.

The log is looked at four times a second, the task's row once. An open file outlives its name: the end of a log
is read although the folder of its lease is gone by then. What a task says beyond the head of its log is read
from a ring beside it (tails.py): a listener who is too slow for it is told how much is missing.
A pod's log is what it has sent to the store (sources.py).
"""

import asyncio
import codecs
import time
from collections.abc import AsyncIterator, Callable

import orjson
from anyio import CapacityLimiter, to_thread

from backend.assets.tasks.states import FINAL
from backend.engine.task_logs.sources import Source
from backend.engine.task_logs.store import Logged
from backend.ports.storage import StorageUnavailable

LOOK_S = 0.25
ROW_S = 1.0
ALIVE_S = 10.0


def event(name: str, data: object) -> bytes:
    """One server-sent event; `data` is JSON, so that no line of a log can be taken for the protocol."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


class Following:
    """One log, for one listener.

    `look` reads the task's row anew, `source` opens the log of a row (None: there is none yet), `ended` tells
    whether this process wants to stop.
    """

    def __init__(
        self,
        look: Callable[[], Logged | None],
        source: Callable[[Logged], Source | None],
        ended: Callable[[], bool],
        limiter: CapacityLimiter,
    ) -> None:
        self._look = look
        self._open = source
        self._ended = ended
        self._limiter = limiter
        self._source: Source | None = None
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
        if self._source is not None and row.lock_token == self._token:
            return False
        source = self._open(row)
        if source is None:
            return False
        again = self._source is not None
        self._close()
        self._source, self._token = source, row.lock_token
        self._decoder.reset()
        return again

    def _read(self) -> bytes:
        try:
            return self._source.read() if self._source is not None else b""
        except StorageUnavailable:
            return b""  # looked at again soon

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
