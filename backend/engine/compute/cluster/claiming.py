"""The next task of a pod's session: of its plan and its function image, in the order in which they were ready.

Fairness between plans and channels lies in how many sessions each has (`planning.plan_sessions`).
"""

from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.engine.compute.claiming import Look
from backend.engine.compute.queue import LEASE_S, Claimed, new_token
from backend.engine.compute.sessions import Bound
from backend.engine.compute.tables import Kind

GROUP = "group"
"""Member of an offer that pods take: the worker group of its function's image."""
_CLAIM = text("""
    WITH choice AS (
        SELECT id FROM work
        WHERE kind = 'task' AND state = 'ready' AND compute_plan_key = :plan
          AND offer ->> 'group' = :group
          AND EXISTS (SELECT 1 FROM runner_session WHERE id = :session)
        ORDER BY created, id LIMIT 1 FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE work SET state = 'leased', lock_token = :token, attempts = attempts + 1, session = :session,
               leased_until = now() + make_interval(secs => :lease), changed = now(), cause = NULL
        FROM choice WHERE work.id = choice.id
        RETURNING work.id, work.key, work.channel, work.compute_plan_key, work.attempts, work.lock_token,
                  work.offer, work.canceled
    ), served AS (
        UPDATE work_turn SET served = clock_timestamp() FROM claimed
        WHERE work_turn.compute_plan_key = claimed.compute_plan_key
    ), profiled AS (
        INSERT INTO task_profiling (compute_task_key, channel, creation_date)
        SELECT key, channel, now() FROM claimed
        ON CONFLICT (compute_task_key) DO UPDATE SET creation_date = now()
    )
    SELECT claimed.*, EXISTS (
        SELECT 1 FROM work w
        WHERE w.kind = 'task' AND w.state = 'ready' AND w.compute_plan_key = :plan
          AND w.offer ->> 'group' = :group AND w.id <> claimed.id) AS more
    FROM claimed
""")


class PodClaiming:
    """Inside one transaction of the caller. A session that the pool has ended gets nothing any more."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection()

    def claim(self, session: UUID, bound: Bound) -> Look:
        values = {
            "plan": bound.plan,
            "group": bound.group,
            "token": new_token(),
            "session": session,
            "lease": LEASE_S,
        }
        row = self._connection.execute(_CLAIM, values).first()
        if row is None:
            return Look(None, False)
        return Look(Claimed(kind=Kind.TASK, **row._mapping), False)
