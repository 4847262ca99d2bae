"""Runners that wait for work stand in a line: only the first looks, so a task that turns ready costs one claim.

It looks when the signal moved since the last vain look, and once a second in any case: a wake-up may be lost,
and work that waits for its time makes none.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from backend.engine.compute.queue import Claimed
from backend.engine.compute.wakeups import POLL_S, Signal

Look = Callable[[], Awaitable[Claimed | None]]
Gone = Callable[[], Awaitable[bool]]


class Line:
    """The line of one process; `close` sends everybody home."""

    def __init__(self, ready: Signal) -> None:
        self._ready = ready
        self._first = asyncio.Lock()
        self._seen = -1
        self._looked = float("-inf")
        self._closed = False

    async def next(self, look: Look, until: float, gone: Gone) -> Claimed | None:
        """What `look` finds before `until` (monotonic seconds); it looks at least once unless others do.

        `gone` tells whether the runner hung up: nothing is claimed for it then.
        """
        if not await self._come_first(until):
            return None
        try:
            while not self._closed and not await gone():
                found = await self._look(look)
                left = until - time.monotonic()
                if found is not None or left <= 0:
                    return found
                if not self._closed:
                    await self._ready.wait_async(self._seen, min(left, POLL_S))
            return None
        finally:
            self._first.release()

    @property
    def busy(self) -> bool:
        """Whether anybody stands in it."""
        return self._first.locked()

    def close(self) -> None:
        self._closed = True
        self._ready.fire()

    async def _come_first(self, until: float) -> bool:
        if not self._first.locked():
            await self._first.acquire()
            return True
        try:
            await asyncio.wait_for(self._first.acquire(), max(until - time.monotonic(), 0))
        except TimeoutError:
            return False
        return True

    async def _look(self, look: Look) -> Claimed | None:
        """Look, unless nothing can have come since somebody found no more."""
        value = self._ready.value
        now = time.monotonic()
        if value == self._seen and now - self._looked < POLL_S:
            return None
        found = await look()
        if found is None or not found.more:
            self._seen, self._looked = value, now
        return found
