"""Events of one channel on their way to subscribers: from memory at once, from the table when one lags behind.

Lives in the server's event loop. No queue per subscriber: each is a position in the channel's order, so a slow
one costs nothing but its own batch.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import islice

import structlog

from orchestrator.events import Event

log = structlog.get_logger(__name__)

Placed = tuple[int, bytes]
"""Position and wire form of an event."""
ReadAfter = Callable[[str, int], Awaitable[Sequence[Placed]]]
"""Events of a channel after a position, in order, a bounded number; empty when there are none."""

RECENT = 4_096
RECENT_BYTES = 8 * 1024 * 1024
AT_ONCE = 256


class Feed:
    """The newest events of a channel, contiguous in position up to `latest`."""

    def __init__(self, channel: str, read_after: ReadAfter) -> None:
        self._channel = channel
        self._read_after = read_after
        self._recent: deque[Placed] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._subscribers = 0
        self._closed = False
        self.latest = 0

    def publish(self, events: Sequence[Event]) -> None:
        """Take over what this process has just committed."""
        if not events or events[-1].position <= self.latest:
            return
        if events[0].position != self.latest + 1:
            self._forget()
        if self._subscribers and all(event.complete for event in events):
            for event in events:
                self._remember((event.position, event.wire()))
        else:
            self._forget()
        self._reached(events[-1].position)

    def advance(self, position: int) -> None:
        """Another process committed up to `position`: subscribers read that from the table."""
        if position > self.latest:
            self._forget()
            self._reached(position)

    def close(self) -> None:
        """End every stream cleanly."""
        self._closed = True
        self._wake.set()

    def nudge(self) -> None:
        """Let every stream ask again whether its caller may listen."""
        self._reached(self.latest)

    async def follow(
        self, position: int, allowed: Callable[[], object] = lambda: None
    ) -> AsyncIterator[bytes]:
        """Every event after `position`, for ever, or until `allowed` raises."""
        self._subscribers += 1
        try:
            while not self._closed:
                wake = self._wake
                allowed()
                batch = self._after(position)
                if batch is None:
                    batch = await self._read_after(self._channel, position)
                for reached, event in batch:
                    if self._closed:
                        return
                    yield event
                    position = reached
                if not batch:
                    await wake.wait()
        finally:
            self._subscribers -= 1

    def _after(self, position: int) -> Sequence[Placed] | None:
        """Events after `position` from memory; None when memory does not reach back so far."""
        if position >= self.latest:
            return ()
        if not self._recent or self._recent[0][0] > position + 1:
            return None
        start = position + 1 - self._recent[0][0]
        return list(islice(self._recent, start, start + AT_ONCE))

    def _remember(self, placed: Placed) -> None:
        self._recent.append(placed)
        self._bytes += len(placed[1])
        while len(self._recent) > RECENT or self._bytes > RECENT_BYTES:
            self._bytes -= len(self._recent.popleft()[1])

    def _forget(self) -> None:
        self._recent.clear()
        self._bytes = 0

    def _reached(self, position: int) -> None:
        self.latest = position
        wake, self._wake = self._wake, asyncio.Event()
        wake.set()
