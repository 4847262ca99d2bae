"""SQL of tasks that are being prepared: NEW → (PREPARING) → READY."""

from typing import Any

import orjson
from sqlalchemy import text
from sqlmodel import Session

from backend.engine.compute.queue import LEASE_S, Claimed, new_token
from backend.engine.compute.tables import Kind

_NEW = text("""
    SELECT id, key, channel, compute_plan_key, attempts FROM work
    WHERE kind = 'task' AND state = 'new' AND not_before <= now()
    ORDER BY priority DESC, created, id LIMIT :most FOR UPDATE SKIP LOCKED
""")
_TAKE = text("""
    UPDATE work SET state = 'preparing', lock_token = :token, changed = now(),
                    leased_until = now() + make_interval(secs => :lease)
    WHERE id = :id
""")
_OFFER = text("""
    UPDATE work SET state = 'ready', offer = CAST(:offer AS jsonb), lock_token = NULL, leased_until = NULL,
                    cause = NULL, tries = 0, changed = now()
    WHERE id = :id AND (state = 'new' OR (state = 'preparing' AND lock_token = :token)) RETURNING id
""")
_DROP = text("UPDATE work SET state = 'done', cause = NULL, changed = now() WHERE id = :id")
_WAIT = text("""
    UPDATE work SET not_before = now() + make_interval(secs => :after), cause = :cause, changed = now()
    WHERE id = :id
""")
_TRIES = text("UPDATE work SET tries = tries + 1 WHERE id = :id RETURNING tries")


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
        }
        return self._connection.execute(_OFFER, values).first() is not None

    def drop(self, work: Claimed) -> None:
        self._connection.execute(_DROP, {"id": work.id})

    def wait(self, work: Claimed, cause: str, after_s: float) -> None:
        self._connection.execute(_WAIT, {"id": work.id, "cause": cause, "after": after_s})

    def tries(self, work: Claimed) -> int:
        """Count one more vain preparation; they have no limit, only a back-off (rule 44)."""
        found: int = self._connection.execute(_TRIES, {"id": work.id}).scalar_one()
        return found
