"""Signs of life of a writer that is busy for longer than its lease lasts.

A call with many thousands of tasks takes seconds to decide. Without this, a standby would take the channel over
in the middle, the commit would be fenced, and the same call would fail again and again.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import structlog
from psycopg2.extensions import connection as Connection  # noqa: N812

from orchestrator.database import connect
from orchestrator.lease import RENEW_S, Lease

log = structlog.get_logger(__name__)

LONGEST_S = 120.0
"""A group that takes longer is taken for a fault: the lease may end."""


class Pulse:
    """Extends `lease` from a thread and a connection of its own, while the writer is inside `busy()`."""

    def __init__(self, url: str, lease: Lease) -> None:
        self._url = url
        self._lease = lease
        self._since: float | None = None
        self._stopping = threading.Event()
        self._connection: Connection | None = None
        name = f"pulse-{lease.channel}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    @contextmanager
    def busy(self) -> Iterator[None]:
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def _run(self) -> None:
        while not self._stopping.wait(RENEW_S):
            since = self._since
            if since is not None and RENEW_S / 2 < time.monotonic() - since < LONGEST_S:
                self._beat()
        self._disconnect()

    def _beat(self) -> None:
        """The epoch is checked by the statement: who lost the channel extends nothing."""
        try:
            if self._connection is None:
                self._connection = connect(self._url, "pulse")
            with self._connection.cursor() as cursor:
                self._lease.renew(cursor)
        except psycopg2.Error as error:
            log.warning("pulse_missed", channel=self._lease.channel, error=str(error))
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
