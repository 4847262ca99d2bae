"""Leases of loops, and the heartbeat that keeps a lease of work while it is done."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend.engine.compute.queue import HEARTBEAT_S, LEASE_S, Claimed, WorkQueue
from backend.engine.compute.wakeups import Signal
from backend.kit.database import Database
from backend.ports.ledger.errors import LedgerError

log = structlog.get_logger()

_TAKE = text("""
    INSERT INTO loop_lease (name, holder, held_until)
    VALUES (:name, :holder, now() + make_interval(secs => :lease))
    ON CONFLICT (name) DO UPDATE SET holder = :holder, held_until = excluded.held_until
        WHERE loop_lease.holder = :holder OR loop_lease.held_until < now()
           OR loop_lease.holder = :dead
    RETURNING holder
""")
_HOLDER = text("SELECT holder FROM loop_lease WHERE name = :name")
_FREE = text("DELETE FROM loop_lease WHERE name = :name AND holder = :holder")


class LoopLeases:
    """The loops that this process holds. A row in the database, never a lock of a connection (rule 10)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._place = _place()
        self.holder = f"{self._place}:{os.getpid()}:{_started(os.getpid())}:{os.urandom(4).hex()}"

    def take(self, name: str) -> bool:
        """Take or extend the lease of a loop; False while another process runs it."""
        with self._database.transaction(durable=False) as session:
            connection = session.connection()
            present = connection.execute(_HOLDER, {"name": name}).scalar()
            dead = present if present and self._is_dead(present) else None
            values = {"name": name, "holder": self.holder, "lease": LEASE_S, "dead": dead}
            return connection.execute(_TAKE, values).first() is not None

    def free(self, name: str) -> None:
        """Let a waiting copy start at once."""
        with self._database.transaction(durable=False) as session:
            session.connection().execute(_FREE, {"name": name, "holder": self.holder})

    def _is_dead(self, holder: str) -> bool:
        """True when the holder was a process of this machine that is no more: no need to wait for expiry."""
        place, pid, started, _ = [*holder.rsplit(":", 3), "", "", ""][:4]
        if place != self._place or not pid.isdigit():
            return False
        return _started(int(pid)) != started


def _place() -> str:
    """What makes process ids comparable: the machine since its boot, and the namespace of process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return f"{socket.gethostname()}-{psutil.boot_time():.0f}"
    return f"{boot}-{namespace}"


def _started(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return "gone"


@contextmanager
def heartbeat(
    database: Database,
    work: Claimed,
    *,
    over: Callable[[], bool] = lambda: False,
    signal: Signal | None = None,
) -> Iterator[Callable[[], bool]]:
    """Keep a lease of ring 1 alive while the block runs; yields a function that tells whether to stop.

    That is when the lease is lost, or when `over` said so: it is asked at every beat, and at once when `signal`
    is fired.
    """
    stop, lost = threading.Event(), threading.Event()
    wake = signal or Signal()

    def beat() -> None:
        seen = wake.value
        while not lost.is_set():
            wake.wait(seen, HEARTBEAT_S)
            seen = wake.value
            if stop.is_set():
                return
            try:
                with database.transaction(durable=False) as session:
                    kept = WorkQueue(session).extend(work)
                if not kept or over():
                    lost.set()
            except (SQLAlchemyError, LedgerError) as error:
                log.warning(
                    "heartbeat_failed", work=str(work.key), error=str(error).splitlines()[0]
                )

    thread = threading.Thread(target=beat, name=f"heartbeat-{work.kind}", daemon=True)
    thread.start()
    try:
        yield lost.is_set
    finally:
        stop.set()
        wake.fire()
        thread.join(5)
