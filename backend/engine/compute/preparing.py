"""SQL of tasks that are being prepared: NEW → (PREPARING) → READY."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import text
from sqlmodel import Session

from backend.engine.compute.queue import LEASE_S, NOTHING, Claimed, new_token
from backend.engine.compute.tables import Kind

_NEW = text("""
    WITH RECURSIVE plan AS (
        (SELECT compute_plan_key AS key FROM work
         WHERE kind = 'task' AND state = 'new' AND compute_plan_key IS NOT NULL
         ORDER BY compute_plan_key LIMIT 1)
        UNION ALL
        SELECT (SELECT w.compute_plan_key FROM work w
                WHERE w.kind = 'task' AND w.state = 'new' AND w.compute_plan_key > plan.key
                ORDER BY w.compute_plan_key LIMIT 1)
        FROM plan WHERE plan.key IS NOT NULL
    ), next AS (
        SELECT w.id, w.turn FROM plan CROSS JOIN LATERAL (
            SELECT n.id, row_number() OVER (ORDER BY n.not_before, n.id) AS turn FROM (
                SELECT id, not_before FROM work
                WHERE kind = 'task' AND state = 'new' AND compute_plan_key = plan.key
                  AND not_before <= now()
                ORDER BY not_before, id LIMIT :most) n) w
        ORDER BY w.turn, w.id LIMIT :most
    )
    SELECT id, key, channel, compute_plan_key, attempts FROM work
    WHERE id IN (SELECT id FROM next) AND state = 'new' ORDER BY id FOR UPDATE SKIP LOCKED
""")
"""As many of each plan, so that a large one does not stand before a small one here either."""
_TAKE = text("""
    UPDATE work SET state = 'preparing', lock_token = :token, changed = now(),
                    leased_until = now() + make_interval(secs => :lease)
    WHERE id = :id
""")
_OFFER = text("""
    UPDATE work SET state = 'ready', offer = CAST(:offer AS jsonb), lock_token = NULL, leased_until = NULL,
                    cause = NULL, tries = 0, waits_since = NULL, changed = now(),
                    cpus = :cpus, memory_bytes = :memory_bytes, gpus = :gpus
    WHERE id = :id AND (state = 'new' OR (state = 'preparing' AND lock_token = :token)) RETURNING id
""")
_LOCK_PLAN = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:plan AS text), 6))")
_BUSY = text("""
    SELECT EXISTS (SELECT 1 FROM work WHERE kind = 'task' AND compute_plan_key = :plan AND id <> :id
                   AND state IN ('ready', 'leased', 'reporting'))
""")
_LATER = text("""
    UPDATE work SET state = 'new', leased_until = NULL, waits_since = NULL, cause = :cause, changed = now(),
                    not_before = now() + make_interval(secs => :after)
    WHERE id = :id AND lock_token = :token AND state = 'preparing'
""")
_DROP = text("UPDATE work SET state = 'done', cause = NULL, changed = now() WHERE id = :id")
_WAIT = text("""
    UPDATE work SET not_before = now() + make_interval(secs => :after), cause = :cause, changed = now()
    WHERE id = ANY(:ids)
""")
_BEGIN = text("""
    UPDATE work SET waits_since = COALESCE(waits_since, now()) WHERE id = :id
    RETURNING extract(epoch FROM now() - waits_since)::float8
""")
_TRIES = text("""
    UPDATE work SET tries = tries + 1, waits_since = COALESCE(waits_since, now()) WHERE id = :id
    RETURNING tries, extract(epoch FROM now() - waits_since)::float8 AS waited_s
""")


class PreparingStore:
    """Tasks before their lease, inside one transaction of the caller."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection()

    def new(self, most: int) -> list[Claimed]:
        """New tasks, locked until the transaction ends; their lock token is fresh and not stored yet."""
        rows = self._connection.execute(_NEW, {"most": most})
        return [
            Claimed(
                id=row.id,
                kind=Kind.TASK,
                key=row.key,
                channel=row.channel,
                compute_plan_key=row.compute_plan_key,
                attempts=row.attempts,
                lock_token=new_token(),
            )
            for row in rows
        ]

    def take(self, work: Claimed) -> Claimed:
        """Keep the task beyond this transaction, under a lease."""
        values = {"id": work.id, "token": work.lock_token, "lease": LEASE_S}
        self._connection.execute(_TAKE, values)
        return work

    def offer(self, work: Claimed, offer: dict[str, Any]) -> bool:
        """Ready for a runner; False when the lease was lost meanwhile."""
        values = {
            "id": work.id,
            "token": work.lock_token,
            "offer": orjson.dumps(offer).decode(),
            **NOTHING,
            **offer.get("resources", {}),
        }
        return self._connection.execute(_OFFER, values).first() is not None

    def alone(self, work: Claimed) -> bool:
        """Whether no other task of its plan is offered, runs or is reported; no other becomes so meanwhile."""
        values = {"plan": work.compute_plan_key, "id": work.id}
        self._connection.execute(_LOCK_PLAN, {"plan": str(work.compute_plan_key)})
        return not self._connection.execute(_BUSY, values).scalar_one()

    def later(self, work: Claimed, cause: str, after_s: float) -> None:
        """It is its plan's turn that it waits for: nothing was in vain, and no limit runs."""
        values = {"id": work.id, "token": work.lock_token, "cause": cause, "after": after_s}
        self._connection.execute(_LATER, values)

    def drop(self, work: Claimed) -> None:
        self._connection.execute(_DROP, {"id": work.id})

    def wait(self, works: Sequence[Claimed], cause: str, after_s: float) -> None:
        """Look at them again later."""
        if works:
            values = {"ids": [work.id for work in works], "cause": cause, "after": after_s}
            self._connection.execute(_WAIT, values)

    def begin(self, work: Claimed) -> float:
        """Its inputs are asked for: the seconds since that was done first."""
        return float(self._connection.execute(_BEGIN, {"id": work.id}).scalar_one())

    def tries(self, work: Claimed) -> tuple[int, float]:
        """Count one more vain preparation: how many, and the seconds since the first began (rule 44)."""
        row = self._connection.execute(_TRIES, {"id": work.id}).one()
        return row.tries, row.waited_s
