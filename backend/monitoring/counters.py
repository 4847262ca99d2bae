"""Counting without a statement for each count: in memory, added to the database every few seconds.

A process that is killed loses the counts of its last seconds; everything that has rows is counted from them
instead (`collector`).
"""

import threading
import time

import orjson
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend.kit.database import Database

FLUSH_S = 5.0
log = structlog.get_logger()
_ADD = text("""
    INSERT INTO metric_counter (name, labels, value)
    SELECT name, labels, value
    FROM json_to_recordset(CAST(:rows AS json)) AS r(name text, labels text, value float8)
    ORDER BY name, labels
    ON CONFLICT (name, labels) DO UPDATE SET value = metric_counter.value + excluded.value
""")


class Counters:
    """The counts of one process. Thread-safe; whoever counts also calls `flush` now and then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], float] = {}
        self._flushed = time.monotonic()

    def add(self, counter: str, /, amount: float = 1, **labels: str) -> None:
        """Count; `labels` have few values each."""
        key = (counter, orjson.dumps(labels, option=orjson.OPT_SORT_KEYS).decode())
        with self._lock:
            self._counts[key] = self._counts.get(key, 0.0) + amount

    @property
    def due(self) -> bool:
        """Whether `flush` would store something."""
        return bool(self._counts) and time.monotonic() - self._flushed > FLUSH_S

    def flush(self, *, now: bool = False) -> None:
        """Add the counts to the database when it is time; a database that is away costs nothing but time."""
        with self._lock:
            if not self._counts or not (now or time.monotonic() - self._flushed > FLUSH_S):
                return
            counts, self._counts = self._counts, {}
            self._flushed = time.monotonic()
        rows = [
            {"name": name, "labels": labels, "value": value}
            for (name, labels), value in counts.items()
        ]
        try:
            with self._database.transaction(durable=False) as session:
                session.connection().execute(_ADD, {"rows": orjson.dumps(rows).decode()})
        except SQLAlchemyError as error:
            log.warning("counts_not_stored", error=str(error).splitlines()[0])
            with self._lock:
                for key, value in counts.items():
                    self._counts[key] = self._counts.get(key, 0.0) + value
