"""An organization's metrics, read from its rows whenever somebody asks (compute.md 8.3).

The original's names where they mean the same: `hostname` is a runner, or the organization where a count is not
one runner's; `name` is `compute_task` or `build_image`. No label holds a key.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy import Connection, text

from backend.kit.database import Database
from backend.kit.migrations import pending
from backend.monitoring.counters import BUCKETS, SUM

SEEN_S = 150
"""A runner's sign of life is noted at most once a minute."""
_TASKS = text("""
    SELECT 'compute_task' AS name,
           count(*) FILTER (WHERE status NOT IN (
               'STATUS_WAITING_FOR_BUILDER_SLOT', 'STATUS_BUILDING',
               'STATUS_WAITING_FOR_PARENT_TASKS')) AS received,
           count(*) FILTER (WHERE start_date IS NOT NULL) AS started,
           count(*) FILTER (WHERE status = 'STATUS_FAILED' AND start_date IS NOT NULL) AS failed,
           count(*) FILTER (WHERE status = 'STATUS_DONE') AS succeeded
    FROM compute_task WHERE worker = :me
    UNION ALL
    SELECT 'build_image', count(*), count(*) FILTER (WHERE status <> 'FUNCTION_STATUS_WAITING'),
           count(*) FILTER (WHERE status = 'FUNCTION_STATUS_FAILED'),
           count(*) FILTER (WHERE status = 'FUNCTION_STATUS_READY')
    FROM function WHERE owner = :me
""")
"""No row may leave a count again: a counter that falls is taken for a restart."""
_RUNNERS = text("""
    SELECT s.name, bool_or(COALESCE(s.last_seen, s.created) > now() - make_interval(secs => :seen)) AS up,
           count(w.id) AS active
    FROM runner_session s LEFT JOIN work w ON w.session = s.id AND w.state = 'leased' AND w.kind = 'task'
    GROUP BY s.name
""")
_QUEUE = text("""
    SELECT kind, state, count(*) AS depth,
           EXTRACT(epoch FROM now() - min(created))::float8 AS oldest_s,
           sum(cpus) AS cpus, sum(memory_bytes)::float8 AS memory_bytes, sum(gpus) AS gpus
    FROM work WHERE state <> 'done' GROUP BY kind, state
""")
_OTHERS = text("""
    SELECT (SELECT count(*) FROM outbox) AS outbox, (SELECT count(*) FROM parked_event) AS parked
""")
_COUNTERS = text("SELECT name, labels, value FROM metric_counter ORDER BY name, labels")
_WAITING = ("new", "preparing", "ready")
COUNTED = {
    "celery_tasks_retried": ("Attempts after an internal failure.", ("hostname", "name")),
    "django_http_requests_total_by_method": ("Requests.", ("method",)),
    "django_http_responses_total_by_status": ("Answers.", ("status",)),
    "django_http_requests_before_middlewares": ("Requests that came in.", ()),
    "django_http_responses_before_middlewares": ("Requests that were answered.", ()),
    "django_http_requests_total_by_transport": ("Requests.", ("transport",)),
    "django_http_responses_total_by_status_view_method": (
        "Answers; a view is a route's template.",
        ("status", "view", "method"),
    ),
    "django_http_responses_streaming": ("Answers that are streams of events.", ()),
    "django_http_exceptions_total_by_type": ("Requests that ended in an exception.", ("type",)),
    "django_db_new_connections": ("Connections to the database.", ("alias", "vendor")),
    "django_db_execute": ("Statements.", ("alias", "vendor")),
    "django_db_execute_many": ("Statements with many rows.", ("alias", "vendor")),
    "django_db_errors": ("Statements that failed.", ("alias", "vendor", "type")),
    "substra_http_response_seconds": ("Time spent on answers, streams and polls included.", ()),
    "substra_lease_expiries": ("Leases that ran out.", ("kind",)),
    "substra_task_starts": ("Functions started, by a zygote or cold.", ("start",)),
    "substra_transfer_bytes": ("Bytes fetched from other organizations.", ("kind",)),
    "substra_storage_evicted_bytes": ("Bytes removed to stay within limits.", ("store",)),
}
"""Names in `metric_counter`, their texts and labels."""
HISTOGRAMS = {
    "django_http_requests_latency_including_middlewares_seconds": (
        "Seconds until an answer's end, streams and polls included.",
        (),
    ),
    "django_http_requests_body_total_bytes": ("Bytes of requests.", ()),
    "django_http_responses_body_total_bytes": ("Bytes of answers.", ()),
    "django_db_query_duration_seconds": ("Seconds of statements.", ("alias", "vendor")),
}
"""Those among them that are histograms (`counters.BOUNDS`)."""
Values = dict[str, list[tuple[dict[str, Any], float]]]


class OrganizationCollector(Collector):
    """Reads everything anew for each scrape: five short queries."""

    def __init__(
        self, database: Database, organization: str, me: str, has: Mapping[str, float]
    ) -> None:
        self._database = database
        self._organization = organization
        self._me = me
        self._has = has

    def collect(self) -> Iterable[Metric]:
        with self._database.reading() as connection:
            yield from self._runners(connection)
            yield from self._totals(connection)
            yield from self._queue(connection)
            yield from self._counted(connection)
        yield from self._migrations()

    def _runners(self, connection: Connection) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "celery_worker_up", "1 for a runner that lives.", labels=["hostname"]
        )
        active = GaugeMetricFamily("celery_tasks_active", "Tasks that run.", labels=["hostname"])
        for row in connection.execute(_RUNNERS, {"seen": SEEN_S}):
            up.add_metric([row.name], float(row.up))
            active.add_metric([row.name], row.active)
        yield from (up, active)

    def _totals(self, connection: Connection) -> Iterator[Metric]:
        rows = connection.execute(_TASKS, {"me": self._me}).all()
        for column in ("received", "started", "failed", "succeeded"):
            family = CounterMetricFamily(
                f"celery_tasks_{column}", f"Work {column}.", labels=["hostname", "name"]
            )
            for row in rows:
                family.add_metric([self._organization, row.name], getattr(row, column))
            yield family

    def _queue(self, connection: Connection) -> Iterator[Metric]:
        depth = GaugeMetricFamily("substra_queue_depth", "Open work.", labels=["kind", "state"])
        oldest = GaugeMetricFamily(
            "substra_queue_oldest_wait_seconds", "Age of what waits longest.", labels=["kind"]
        )
        used = GaugeMetricFamily(
            "substra_resources_used", "What running tasks take.", labels=["resource"]
        )
        total = GaugeMetricFamily(
            "substra_resources_total", "What the site has for tasks.", labels=["resource"]
        )
        waits: dict[str, float] = {}
        busy = dict.fromkeys(("cpus", "memory_bytes", "gpus"), 0.0)
        for row in connection.execute(_QUEUE):
            depth.add_metric([row.kind, row.state], row.depth)
            if row.state in _WAITING:
                waits[row.kind] = max(waits.get(row.kind, 0.0), row.oldest_s)
            if row.state == "leased":
                for resource in busy:
                    busy[resource] += getattr(row, resource)
        for kind in sorted({"task", "build", *waits}):
            oldest.add_metric([kind], waits.get(kind, 0.0))
        for resource, amount in busy.items():
            used.add_metric([resource], amount)
            total.add_metric([resource], self._has[resource])
        yield from (depth, oldest, used, total)
        others = connection.execute(_OTHERS).one()
        yield GaugeMetricFamily(
            "substra_outbox_depth", "Results that the ledger does not know whole.", others.outbox
        )
        yield GaugeMetricFamily(
            "substra_events_parked", "Events that could not be applied.", others.parked
        )

    def _counted(self, connection: Connection) -> Iterator[Metric]:
        values: Values = {}
        for row in connection.execute(_COUNTERS):
            values.setdefault(row.name, []).append((orjson.loads(row.labels), row.value))
        for name, (words, labels) in COUNTED.items():
            family = CounterMetricFamily(name, words, labels=labels)
            for found, value in values.get(name, ()):
                family.add_metric([str(found.get(label, "")) for label in labels], value)
            yield family
        for name, (words, labels) in HISTOGRAMS.items():
            yield _histogram(name, words, labels, values)

    def _migrations(self) -> Iterator[Metric]:
        applied, waiting = pending(self._database)
        for word, number in (("applied", applied), ("unapplied", waiting)):
            family = GaugeMetricFamily(
                f"django_migrations_{word}_total", f"Migrations {word}.", labels=["connection"]
            )
            family.add_metric(["default"], number)
            yield family


def _histogram(
    name: str, words: str, labels: tuple[str, ...], values: Values
) -> HistogramMetricFamily:
    """Buckets add up: each holds all that is not above its bound."""
    counts: dict[tuple[str, ...], dict[str, float]] = {}
    for found, value in values.get(name, ()):
        named = tuple(str(found.get(label, "")) for label in labels)
        counts.setdefault(named, {})[str(found["le"])] = value
    sums = {
        tuple(str(found.get(label, "")) for label in labels): value
        for found, value in values.get(name + SUM, ())
    }
    family = HistogramMetricFamily(name, words, labels=labels)
    for named, buckets in counts.items():
        total, told = 0.0, []
        for bound in BUCKETS[name]:
            total += buckets.get(bound, 0.0)
            told.append((bound, total))
        family.add_metric(named, told, sums.get(named, 0.0))
    return family
