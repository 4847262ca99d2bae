"""Wake whoever waits for work: inside the process at once, other processes by NOTIFY (rule 8).

Losing a wake-up costs a second: every waiter looks again after `POLL_S`.
"""

import asyncio
import contextlib
import os
import select
import threading
from collections.abc import Iterable
from typing import Any

import psycopg2
import structlog
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from backend.kit.database import Database

POLL_S = 1.0
_NAME = "substra_work"
log = structlog.get_logger()


class Signal:
    """A counter that threads and coroutines wait on.

    Read `value`, look for work, then wait for a value other than the one read: nothing that happens in
    between is missed.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = set()
        self.value = 0

    def fire(self) -> None:
        with self._condition:
            self.value += 1
            self._condition.notify_all()
            waiters, self._waiters = self._waiters, set()
        for loop, future in waiters:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_resolve, future)

    def wait(self, seen: int, timeout_s: float) -> bool:
        """Block a thread; True when fired."""
        with self._condition:
            return self._condition.wait_for(lambda: self.value != seen, timeout_s)

    async def wait_async(self, seen: int, timeout_s: float) -> bool:
        """Hold a coroutine only: no thread, no connection (rule 11)."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._condition:
            if self.value != seen:
                return True
            self._waiters.add((loop, future))
        try:
            await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return False
        finally:
            with self._condition:
                self._waiters.discard((loop, future))
        return True


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class Wakeups:
    """The signals of one process, joined with those of the others through PostgreSQL.

    Topics are short words (`new`, `ready`, `build`, `chore`, `outbox`).
    """

    def __init__(self, database: Database) -> None:
        url = database.engine.url.set(drivername="postgresql")
        self._address = url.render_as_string(hide_password=False)
        self._lock = threading.Lock()
        self._signals: dict[str, Signal] = {}
        self._sender: Any = None
        self._sending = threading.Lock()
        self._id = os.urandom(6).hex()
        self._closing = threading.Event()
        self._stop_read, self._stop_write = os.pipe()
        self._thread: threading.Thread | None = None

    def signal(self, topic: str) -> Signal:
        with self._lock:
            return self._signals.setdefault(topic, Signal())

    def listen(self) -> None:
        """Start the one LISTEN connection of this process."""
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="wakeups", daemon=True)
                self._thread.start()

    def wake(self, topics: Iterable[str], *, others: bool = True) -> None:
        """Wake the waiters of these topics; call it after the commit, never inside a transaction."""
        named = sorted(set(topics))
        for topic in named:
            self.signal(topic).fire()
        if others and named:
            self._notify(named)

    def close(self) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            os.write(self._stop_write, b".")
        if self._thread is not None:
            self._thread.join(5)
        with self._sending:
            self._drop_sender()
        for end in (self._stop_read, self._stop_write):
            with contextlib.suppress(OSError):
                os.close(end)
        for signal in list(self._signals.values()):
            signal.fire()

    def _notify(self, topics: list[str]) -> None:
        payload = f"{self._id} {' '.join(topics)}"
        with self._sending:
            try:
                if self._sender is None:
                    self._sender = psycopg2.connect(self._address)
                    self._sender.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
                    with (
                        self._sender.cursor() as cursor
                    ):  # the server-wide lock ends without a flush
                        cursor.execute("SET synchronous_commit = off")
                with self._sender.cursor() as cursor:
                    cursor.execute("SELECT pg_notify(%s, %s)", (_NAME, payload))
            except psycopg2.Error as error:
                log.warning("notify_failed", error=str(error).strip())
                self._drop_sender()

    def _drop_sender(self) -> None:
        if self._sender is not None:
            with contextlib.suppress(psycopg2.Error):
                self._sender.close()
            self._sender = None

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._listen_once()
            except (psycopg2.Error, OSError) as error:
                if not self._closing.is_set():
                    log.warning("listen_failed", error=str(error).strip())
                    self._closing.wait(POLL_S)

    def _listen_once(self) -> None:
        connection = psycopg2.connect(self._address)
        try:
            connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {_NAME}")
            self._fire_all()  # whatever was missed before
            while not self._closing.is_set():
                ends: list[Any] = [connection, self._stop_read]
                select.select(ends, [], [])
                connection.poll()
                while connection.notifies:
                    self._received(connection.notifies.pop(0).payload)
        finally:
            connection.close()

    def _received(self, payload: str) -> None:
        sender, *topics = payload.split(" ")
        if sender != self._id:
            for topic in topics:
                self.signal(topic).fire()

    def _fire_all(self) -> None:
        for signal in list(self._signals.values()):
            signal.fire()
