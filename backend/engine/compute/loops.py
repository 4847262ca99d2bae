"""Loops of the control plane: a turn that works or finds nothing, a signal that ends the waiting, one lease.

A loop holds a lease row while it runs (rule 10): a second copy waits. A turn that raises is logged and repeated
with a back-off; nothing that a loop knows is in its memory alone.
"""

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from backend.engine.compute.leases import LoopLeases
from backend.engine.compute.queue import HEARTBEAT_S
from backend.engine.compute.wakeups import Signal

log = structlog.get_logger()
MOST_PAUSE_S = 10.0


class Keeper:
    """Renews the leases of all loops of a process, so that a long turn does not lose its own."""

    def __init__(self, leases: LoopLeases, stop: threading.Event) -> None:
        self._leases = leases
        self._stop = stop
        self._lock = threading.Lock()
        self._held: set[str] = set()

    def holds(self, name: str) -> bool:
        """True when this process runs the loop: it has the lease, or just got it."""
        with self._lock:
            if name in self._held:
                return True
        if not self._leases.take(name):
            return False
        with self._lock:
            self._held.add(name)
        log.info("loop_started", loop=name)
        return True

    def run(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with self._lock:
                names = sorted(self._held)
            for name in names:
                self._renew(name)
        self.free()

    def free(self) -> None:
        with self._lock:
            names, self._held = sorted(self._held), set()
        for name in names:
            try:
                self._leases.free(name)
            except SQLAlchemyError as error:
                log.warning("lease_not_freed", loop=name, error=str(error).splitlines()[0])

    def _renew(self, name: str) -> None:
        try:
            kept = self._leases.take(name)
        except SQLAlchemyError as error:
            log.warning("lease_not_renewed", loop=name, error=str(error).splitlines()[0])
            return
        if not kept:
            log.warning("lease_lost", loop=name)
            with self._lock:
                self._held.discard(name)


class Loop:
    """One loop in its own thread; `beat` is when it last showed life (monotonic seconds)."""

    def __init__(
        self,
        name: str,
        turn: Callable[[], bool],
        keeper: Keeper,
        stop: threading.Event,
        *,
        signal: Signal | None = None,
        every_s: float = 1.0,
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        """`taken` is called when the lease was got: whoever had it before works no more."""
        self._taken = taken
        self._holds = False
        self.name = name
        self._turn = turn
        self._keeper = keeper
        self._stop = stop
        self._signal = signal
        self._every_s = every_s
        self.beat = time.monotonic()
        self.busy = False

    def run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self.beat = time.monotonic()
            seen = self._signal.value if self._signal else 0
            try:
                worked = self._work()
                failures = 0
            except Exception as error:
                failures += 1
                log.exception("loop_failed", loop=self.name, error=repr(error), failures=failures)
                self._stop.wait(min(MOST_PAUSE_S, 0.25 * 2 ** min(failures, 8)))
                continue
            if not worked:
                self._pause(seen)

    def _work(self) -> bool:
        if not self._keeper.holds(self.name):
            self._holds = False
            return False
        if not self._holds:
            self._taken()
            self._holds = True
        self.busy = True
        try:
            return self._turn()
        finally:
            self.busy = False

    def _pause(self, seen: int) -> None:
        if self._signal is None:
            self._stop.wait(self._every_s)
        else:
            self._signal.wait(seen, self._every_s)
