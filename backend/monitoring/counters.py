"""Counting without a statement for each count: in memory, added to the database every few seconds.

A process that is killed loses the counts of its last seconds; everything that has rows is counted from them
instead (`collector`).
"""

import bisect
import threading
import time
from collections.abc import Iterable

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


BOUNDS = {
    "django_http_requests_latency_including_middlewares_seconds": (
        *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
        *(1.0, 2.5, 5.0, 10.0, 30.0),
    ),
    "django_db_query_duration_seconds": (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0),
    "django_http_requests_body_total_bytes": tuple(float(16**n) for n in range(1, 9)),
    "django_http_responses_body_total_bytes": tuple(float(16**n) for n in range(1, 9)),
}
"""Histograms: the upper bounds of their buckets; the last one, without a bound, goes without saying."""
BUCKETS = {name: (*(f"{bound:g}" for bound in bounds), "+Inf") for name, bounds in BOUNDS.items()}
"""The `le` labels of each histogram."""
SUM = "_sum"
Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]


def observed(histogram: str, value: float, labels: Labels = ()) -> tuple[tuple[Key, float], ...]:
    """What a value counts in a histogram of `BOUNDS`: one in its bucket, and itself in the sum."""
    bucket = BUCKETS[histogram][bisect.bisect_left(BOUNDS[histogram], value)]
    return ((histogram, (*labels, ("le", bucket))), 1.0), ((histogram + SUM, labels), value)


class Counters:
    """The counts of one process. Thread-safe; whoever counts also calls `flush` now and then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._counts: dict[Key, float] = {}
        self._flushed = time.monotonic()

    def add(self, counter: str, /, amount: float = 1, **labels: str) -> None:
        """Count; `labels` have few values each."""
        self.add_all([((counter, tuple(labels.items())), amount)])

    def add_all(self, counts: Iterable[tuple[Key, float]]) -> None:
        """Several counts at once, as each request has them."""
        with self._lock:
            for key, amount in counts:
                self._counts[key] = self._counts.get(key, 0.0) + amount

    def observe(self, histogram: str, value: float, /, **labels: str) -> None:
        """Count a value in its bucket of a histogram of `BOUNDS`."""
        self.add_all(observed(histogram, value, tuple(labels.items())))

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
        sums: dict[tuple[str, str], float] = {}
        for (name, labels), value in counts.items():
            words = orjson.dumps(dict(labels), option=orjson.OPT_SORT_KEYS).decode()
            sums[name, words] = sums.get((name, words), 0.0) + value
        rows = [
            {"name": name, "labels": words, "value": value} for (name, words), value in sums.items()
        ]
        try:
            with self._database.transaction(durable=False) as session:
                session.connection().execute(_ADD, {"rows": orjson.dumps(rows).decode()})
        except SQLAlchemyError as error:
            log.warning("counts_not_stored", error=str(error).splitlines()[0])
            self.add_all(counts.items())
