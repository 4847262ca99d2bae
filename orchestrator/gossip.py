"""Word between ledger processes on one database: "channel C has events up to position P".

Told by NOTIFY in a transaction of its own, never in a writer's: NOTIFY holds a lock of the whole server until
after the flush (rule 8). A lost word costs one poll interval.
"""

import os
import select
import threading
import time
from collections.abc import Callable

import psycopg2
import structlog
from psycopg2.extensions import connection as Connection  # noqa: N812

from orchestrator.database import connect

log = structlog.get_logger(__name__)

TOPIC = "ledger_events"
POLL_S = 1.0
BREATH_S = 0.02
"""Words of one process come at most this often; a later position covers the earlier ones."""

Heard = Callable[[str, int], None]


class Gossip:
    """Tells and hears. `heard(channel, position)` is called from a thread of its own."""

    def __init__(self, url: str, holder: str, heard: Heard) -> None:
        self._url = url
        self._holder = holder
        self._heard = heard
        self._news: dict[str, int] = {}
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._bell, self._rope = os.pipe()
        self._threads = [
            threading.Thread(target=self._listen, name="ledger-listen", daemon=True),
            threading.Thread(target=self._speak, name="ledger-speak", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def tell(self, channel: str, position: int) -> None:
        """Never waits."""
        with self._lock:
            self._news[channel] = position
        self._some.set()

    def stop(self) -> None:
        self._stopping.set()
        self._some.set()
        os.write(self._rope, b".")
        for thread in self._threads:
            thread.join()
        os.close(self._bell)
        os.close(self._rope)

    # ------------------------------------------------------------------ speaking
    def _speak(self) -> None:
        connection: Connection | None = None
        while not self._stopping.is_set():
            self._some.wait()
            self._some.clear()
            with self._lock:
                news, self._news = self._news, {}
            try:
                connection = connection or connect(self._url, "speak", durable=False)
                with connection.cursor() as cursor:
                    for channel, position in news.items():
                        word = f"{self._holder} {position} {channel}"
                        cursor.execute("SELECT pg_notify(%s, %s)", (TOPIC, word))
            except psycopg2.Error:
                _close(connection)
                connection = None
            self._stopping.wait(BREATH_S)
        _close(connection)

    # ------------------------------------------------------------------ listening
    def _listen(self) -> None:
        connection: Connection | None = None
        while not self._stopping.is_set():
            try:
                if connection is None:
                    connection = connect(self._url, "listen")
                    with connection.cursor() as cursor:
                        cursor.execute(f"LISTEN {TOPIC}")
                self._poll(connection)
                self._hear(connection)
            except psycopg2.Error as error:
                log.warning("gossip_interrupted", error=str(error))
                _close(connection)
                connection = None
                self._stopping.wait(POLL_S)
        _close(connection)

    def _poll(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT channel, position FROM channel_head")
            for channel, position in cursor.fetchall():
                self._heard(channel, position)

    def _hear(self, connection: Connection) -> None:
        """Words for one poll interval."""
        until = time.monotonic() + POLL_S
        while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
            ready, _, _ = select.select([connection.fileno(), self._bell], [], [], left)
            if connection.fileno() in ready:
                connection.poll()
            while connection.notifies:
                word = connection.notifies.pop(0).payload
                holder, position, channel = word.split(" ", 2)
                if holder != self._holder:
                    self._heard(channel, int(position))


def _close(connection: Connection | None) -> None:
    if connection is not None:
        connection.close()
