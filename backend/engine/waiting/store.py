"""All SQL about who waits for what."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from backend.engine.waiting.rules import Turn

_TASK = text("""
    SELECT t.key, t.status, t.worker, t.compute_plan_key, f.owner AS builder, f.key AS function_key,
           (SELECT count(DISTINCT i.parent_task_key) FROM compute_task_input i
            WHERE i.task_key = t.key) AS parents,
           (SELECT count(DISTINCT i.parent_task_key) FROM compute_task_input i
            JOIN compute_task p ON p.key = i.parent_task_key
            WHERE i.task_key = t.key AND p.status <> 'STATUS_DONE') AS open_parents
    FROM compute_task t LEFT JOIN function f ON f.key = t.function_key
    WHERE t.key = :key AND t.channel = :channel
""")
_WORK = text("""
    SELECT w.state, w.canceled, w.attempts, w.tries, w.cause, w.not_before, w.cpus, w.memory_bytes,
           w.gpus, w.changed, o.attempts AS reports, COALESCE(o.last_error, w.last_error) AS last_error,
           CASE WHEN w.state = 'ready' THEN (
               SELECT count(*) FROM work b
               WHERE b.kind = 'task' AND b.state = 'ready' AND b.compute_plan_key = w.compute_plan_key
                 AND (b.created, b.id) < (w.created, w.id)) ELSE 0 END AS before,
           f.cpus AS busy_cpus, f.memory_bytes AS busy_memory_bytes, f.gpus AS busy_gpus
    FROM work w LEFT JOIN outbox o ON o.task_key = w.key CROSS JOIN (
        SELECT COALESCE(sum(cpus), 0) AS cpus, COALESCE(sum(memory_bytes), 0) AS memory_bytes,
               COALESCE(sum(gpus), 0) AS gpus
        FROM work WHERE kind = 'task' AND state = 'leased') f
    WHERE w.kind = 'task' AND w.key = :key
""")
_BUILDS = text("""
    SELECT count(*) FROM work b, work w
    WHERE w.kind = 'build' AND w.key = :key AND b.kind = 'build' AND b.state IN ('new', 'leased')
      AND (b.created, b.id) < (w.created, w.id)
""")
_TURNS = text("""
    SELECT r.compute_plan_key AS plan, t.channel, r.ready, t.weight, c.weight AS channel_weight,
           GREATEST(t.finish, c.clock) AS start, GREATEST(c.finish, root.clock) AS channel_start
    FROM (SELECT compute_plan_key, count(*) AS ready FROM work
          WHERE kind = 'task' AND state = 'ready' GROUP BY compute_plan_key) r
    JOIN work_turn t USING (compute_plan_key) JOIN work_clock c ON c.channel = t.channel
    CROSS JOIN (SELECT clock FROM work_clock WHERE channel = '') root
""")
_PLANS = text("""
    SELECT w.compute_plan_key, p.name, t.weight,
           count(*) FILTER (WHERE w.state = 'leased') AS running,
           count(*) FILTER (WHERE w.state = 'ready') AS ready,
           count(*) FILTER (WHERE w.state IN ('new', 'preparing')) AS preparing,
           count(*) FILTER (WHERE w.state = 'reporting') AS reporting
    FROM work w JOIN compute_plan p ON p.key = w.compute_plan_key
    LEFT JOIN work_turn t ON t.compute_plan_key = w.compute_plan_key
    WHERE w.kind = 'task' AND w.state <> 'done' AND w.channel = :channel
    GROUP BY w.compute_plan_key, p.name, t.weight ORDER BY p.name, w.compute_plan_key LIMIT 500
""")
_TROUBLE = text("""
    SELECT w.kind, w.key, w.compute_plan_key, w.state, w.attempts, w.tries, w.not_before,
           COALESCE(o.last_error, w.last_error) AS last_error, w.cause
    FROM work w LEFT JOIN outbox o ON o.task_key = w.key AND w.kind = 'task'
    WHERE w.state <> 'done' AND w.channel = :channel
      AND (w.cause IS NOT NULL OR w.last_error IS NOT NULL OR o.last_error IS NOT NULL)
    ORDER BY w.changed LIMIT 100
""")
_BUILD_QUEUE = text("""
    SELECT b.key, f.name, b.state = 'leased' AS running, b.attempts FROM work b
    LEFT JOIN function f ON f.key = b.key
    WHERE b.kind = 'build' AND b.state IN ('new', 'leased') AND b.channel = :channel
    ORDER BY b.created, b.id LIMIT 500
""")


class WaitingStore:
    """Reads only; each method is one query."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def task(self, key: UUID, channel: str) -> Row[Any] | None:
        return self._connection.execute(_TASK, {"key": key, "channel": channel}).one_or_none()

    def work(self, key: UUID) -> Row[Any] | None:
        return self._connection.execute(_WORK, {"key": key}).one_or_none()

    def builds_before(self, function: UUID) -> int:
        found: int = self._connection.execute(_BUILDS, {"key": function}).scalar_one()
        return found

    def turns(self) -> list[Turn]:
        """Plans with ready tasks, those of all channels: they share the runners."""
        rows = self._connection.execute(_TURNS)
        return [Turn(**{**row._mapping, "plan": str(row.plan)}) for row in rows]

    def overview(self, channel: str) -> dict[str, list[dict[str, Any]]]:
        """Plans with open tasks, builds in their order, and whatever had trouble; of one channel."""
        queries = {"plans": _PLANS, "builds": _BUILD_QUEUE, "trouble": _TROUBLE}
        return {
            name: [
                dict(row._mapping) for row in self._connection.execute(query, {"channel": channel})
            ]
            for name, query in queries.items()
        }
