"""All SQL of the pool of pods: what waits for pods, which images they need, what became of a session's task."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.engine.compute.cluster.planning import Demand

MOST_IMAGES = 200
"""Functions that are looked at: those with open work, then the newest."""
_DEMANDS = text("""
    SELECT compute_plan_key AS plan, offer ->> 'group' AS image_group, count(*) AS tasks FROM work
    WHERE kind = 'task' AND state IN ('ready', 'leased') AND offer ->> 'group' IS NOT NULL
      AND NOT canceled
    GROUP BY compute_plan_key, offer ->> 'group' ORDER BY compute_plan_key, 2
""")
_IMAGES = text("""
    WITH open AS (
        SELECT DISTINCT t.function_key FROM work w JOIN compute_task t ON t.key = w.key
        WHERE w.kind = 'task' AND w.state <> 'done'
    )
    SELECT f.image_checksum AS digest FROM function f LEFT JOIN open ON open.function_key = f.key
    WHERE f.status = 'FUNCTION_STATUS_READY' AND f.image_checksum <> ''
      AND (f.owner = :me OR open.function_key IS NOT NULL)
    ORDER BY open.function_key IS NULL, f.creation_date DESC, f.key LIMIT :most
""")
_WAITS = text("""
    UPDATE work SET cause = :cause
    WHERE kind = 'task' AND state = 'ready' AND offer ->> 'group' = :group
      AND cause IS DISTINCT FROM :cause
""")

_OVER = text("""
    SELECT given.key FROM unnest(CAST(:keys AS uuid[])) AS given(key)
    WHERE NOT EXISTS (SELECT 1 FROM work w
                      WHERE w.kind = 'task' AND w.key = given.key AND w.state <> 'done')
""")
_RECENT = text("""
    SELECT key FROM compute_task
    WHERE key = ANY(:keys) AND (end_date IS NULL OR end_date > now() - make_interval(secs => :seconds))
""")


class PoolStore:
    """Inside one transaction of the caller."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection()

    def demands(self) -> list[Demand]:
        rows = self._connection.execute(_DEMANDS)
        return [Demand(str(row.plan), row.image_group, row.tasks) for row in rows]

    def images(self, me: str) -> list[str]:
        """Manifest digests (bare hex), once each: those with open work first, then the newest."""
        rows = self._connection.execute(_IMAGES, {"me": me, "most": MOST_IMAGES}).scalars()
        return list(dict.fromkeys(rows))

    def waits(self, group: str, cause: str | None) -> None:
        values: Mapping[str, Any] = {"group": group, "cause": cause}
        self._connection.execute(_WAITS, values)

    def over(self, tasks: Sequence[UUID]) -> list[UUID]:
        """Those of these tasks that have no open work."""
        if not tasks:
            return []
        return list(self._connection.execute(_OVER, {"keys": list(tasks)}).scalars())

    def recent(self, tasks: Sequence[UUID], seconds: int) -> set[UUID]:
        """Those of these tasks that ended within so many seconds, as far as we know."""
        if not tasks:
            return set()
        values = {"keys": list(tasks), "seconds": seconds}
        return set(self._connection.execute(_RECENT, values).scalars())
