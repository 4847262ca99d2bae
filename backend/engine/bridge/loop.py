"""The bridge of one channel: the ledger's pushed events become rows and work, in batches.

A thread reads the stream into a queue, the loop takes whatever has arrived as one batch. An event that makes
work here is applied within a millisecond; what only has to be shown, or was foreseen (`ahead`), lingers a
moment, so that the events of one step share a transaction (three a task would be most of its cost, at
every organization).
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import structlog
from sqlalchemy.exc import SQLAlchemyError

from backend.engine.bridge.applier import Applier, CursorMoved
from backend.engine.compute.leases import LoopLeases
from backend.engine.compute.queue import HEARTBEAT_S
from backend.ports.ledger.client import ChannelLedger, EventStream
from backend.ports.ledger.errors import LedgerError
from protos.orchestrator import computetask_pb2, event_pb2

log = structlog.get_logger()
BATCH = 500
PAUSE_S = 0.5
LINGER_S = 0.01
LINGER_BUSY_S = 0.15
"""When the last batch ended less than `BUSY_S` ago: the events of one task then share one transaction."""
LINGER_END_S = 0.02
"""For the end of a task that may be the end of its plan."""
BUSY_S = 0.2
_OVER = {
    computetask_pb2.STATUS_DONE,
    computetask_pb2.STATUS_FAILED,
    computetask_pb2.STATUS_CANCELED,
}
_NO_SUCH_EVENT = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
}

Awaited = Callable[[str], bool]
"""Whether a task's result was prepared for: it turns ready without the bridge."""


@dataclass(frozen=True, slots=True)
class Here:
    """Who applies the events."""

    me: str
    awaited: Awaited = lambda _key: False


class _Reader:
    """An open subscription; its end, with the error or None, comes through the queue too."""

    def __init__(self, stream: EventStream, name: str) -> None:
        self._stream = stream
        self.arrived: queue.Queue[event_pb2.Event | Exception | None] = queue.Queue(4 * BATCH)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        end: Exception | None = None
        try:
            for event in self._stream:
                if not self._put(event):
                    return
        except Exception as error:
            end = error
        self._put(end)

    def _put(self, item: event_pb2.Event | Exception | None) -> bool:
        while not self._closed.is_set():
            try:
                self.arrived.put(item, timeout=1)
            except queue.Full:
                continue
            return True
        return False

    def close(self) -> None:
        self._closed.set()
        self._stream.cancel()
        self._thread.join(5)


class ChannelBridge:
    """Runs in its own thread; trouble of one channel never touches another (rule 10 for the lease)."""

    def __init__(
        self,
        ledger: ChannelLedger,
        applier: Applier,
        leases: LoopLeases,
        stop: threading.Event,
        awaited: Awaited = lambda _key: False,
    ) -> None:
        self._here = Here(applier.me, awaited)
        self._ledger = ledger
        self._applier = applier
        self._leases = leases
        self._stop = stop
        self._name = f"bridge:{ledger.name}"
        self.beat = time.monotonic()

    def run(self) -> None:
        """Until stopped: wait for the lease, then follow the stream, again and again."""
        while not self._stop.is_set():
            try:
                self.beat = time.monotonic()
                if not self._leases.take(self._name):
                    self._stop.wait(1)
                    continue
                self._follow()
            except CursorMoved:
                log.info("cursor_moved", channel=self._ledger.name)
            except LedgerError as error:
                self._ledger_failed(error)
            except SQLAlchemyError as error:  # nothing was changed: again from the stored cursor
                log.warning("bridge_database", channel=self._ledger.name, error=_line(error))
                self._stop.wait(PAUSE_S)
        try:
            self._leases.free(self._name)
        except SQLAlchemyError as error:
            log.warning("lease_not_freed", loop=self._name, error=_line(error))

    def _ledger_failed(self, error: LedgerError) -> None:
        log.warning(
            "bridge_ledger", channel=self._ledger.name, code=error.code.name, error=error.details
        )
        self._stop.wait(PAUSE_S)

    def _follow(self) -> None:
        cursor = self._applier.load()
        reader = _Reader(self._ledger.subscribe(cursor), f"events:{self._ledger.name}")
        renewed = time.monotonic()
        received = False
        applied = 0.0
        try:
            while not self._stop.is_set():
                self.beat = time.monotonic()
                if self.beat - renewed > HEARTBEAT_S:
                    if not self._leases.take(self._name):
                        log.warning("lease_lost", loop=self._name)
                        return
                    self._applier.check()
                    renewed = self.beat
                busy = time.monotonic() - applied < BUSY_S
                linger_s = LINGER_BUSY_S if busy else LINGER_S
                batch, end = _take(reader.arrived, HEARTBEAT_S, self._here, linger_s)
                if batch:
                    received = True
                    self._applier.apply(batch)
                    applied = time.monotonic()
                if end is not None:
                    if _cursor_unknown(end) and cursor and not received:
                        self._applier.restart()
                        return
                    raise end
        finally:
            reader.close()


def urgent(event: event_pb2.Event, here: Here) -> bool:
    """Whether an event makes work here, or ends some: it is applied at once."""
    match event.WhichOneof("asset"):
        case "compute_task":
            task = event.compute_task
            ready = task.status == computetask_pb2.STATUS_WAITING_FOR_EXECUTOR_SLOT
            return ready and task.worker == here.me and not here.awaited(task.key)
        case "function":
            return (
                event.event_kind == event_pb2.EVENT_ASSET_CREATED
                and event.function.owner == here.me
            )
        case "compute_plan":
            return event.event_kind == event_pb2.EVENT_ASSET_UPDATED
    return False


def _take(
    arrived: "queue.Queue[event_pb2.Event | Exception | None]",
    timeout_s: float,
    here: Here,
    linger_s: float,
) -> tuple[list[event_pb2.Event], Exception | None]:
    """The next batch: waits `timeout_s` for its first event, then `linger_s` for more unless one is urgent.

    Returns the events with what ended the stream, if it ended.
    """
    batch: list[event_pb2.Event] = []
    try:
        item = arrived.get(timeout=timeout_s)
        linger = Linger(time.monotonic() + linger_s)
        while True:
            if not isinstance(item, event_pb2.Event):
                return batch, item or LedgerError(grpc.StatusCode.UNAVAILABLE, "the stream ended")
            batch.append(item)
            if len(batch) == BATCH:
                return batch, None
            left = linger.until(item, here) - time.monotonic()
            item = arrived.get(timeout=left) if left > 0 else arrived.get_nowait()
    except queue.Empty:
        return batch, None


class Linger:
    """How long a batch waits for more events, in monotonic seconds."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._ended: dict[str, float] = {}

    def until(self, event: event_pb2.Event, here: Here) -> float:
        """The deadline with this event in the batch.

        A plan whose task ended without a successor that turned ready may be over: somebody looks at it then, at
        any organization.
        """
        if urgent(event, here):
            self._longest = 0.0
        elif event.WhichOneof("asset") == "compute_task":
            task = event.compute_task
            if task.status in _OVER:
                self._ended[task.compute_plan_key] = time.monotonic() + LINGER_END_S
            elif task.status == computetask_pb2.STATUS_WAITING_FOR_EXECUTOR_SLOT:
                self._ended.pop(task.compute_plan_key, None)
        return min(self._longest, *self._ended.values()) if self._ended else self._longest


def _cursor_unknown(error: Exception) -> bool:
    """An unknown start id ends the stream before any event: UNKNOWN in the original (orchestrator.md 9.3)."""
    return isinstance(error, LedgerError) and error.code in _NO_SUCH_EVENT


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [repr(error)])[0]
