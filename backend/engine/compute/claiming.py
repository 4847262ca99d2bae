"""Which task is next: a weighted round of channels, in it one of their plans, within what the site has.

Start-time fair queueing: serving a channel (or plan) moves its `finish` on by 1 / weight; next is whoever may
start first, which is its `finish`, but not before the round's present time, so that who was idle has saved
nothing up. A plan of 10,000 tasks delays a plan of 10 by one task for each of the 10.

A task that does not fit beside those that run lets others pass for `PATIENCE_S`, then everybody behind it waits
until there is room: it cannot starve.

The statement is a function of the database (`claim_function`).
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.engine.compute.demands import Needs
from backend.engine.compute.queue import LEASE_S, Claimed, new_token
from backend.engine.compute.tables import Kind

PATIENCE_S = 30
RACES = 50
"""Claims that one call may lose to others at the same moment; each lost one means that somebody got a task."""
_CLAIM = text("""
    SELECT * FROM claim_task_1(:token, :lease, :session, :patience, :cpus, :memory, :gpus)
""")
_AWAY = ("chosen", "blocked")
_UNWEIGHED = text("""
    SELECT t.compute_plan_key AS plan, p.owner, p.metadata, u.role FROM work_turn t
    JOIN compute_plan p ON p.key = t.compute_plan_key
    LEFT JOIN compute_plan_creator c ON c.compute_plan_key = p.key
    LEFT JOIN user_channel u ON u.user_id = c.user_id AND u.channel_name = p.channel
    WHERE NOT t.weighed ORDER BY t.compute_plan_key LIMIT 500
""")
_WEIGH = text("""
    UPDATE work_turn SET weight = :weight, weighed = true WHERE compute_plan_key = :plan
""")
_CHANNEL = text("""
    INSERT INTO work_clock (channel, weight) VALUES (:channel, :weight)
    ON CONFLICT (channel) DO UPDATE SET weight = excluded.weight
""")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look for a task found. `blocked`: some plan's next task does not fit beside those that run."""

    work: Claimed | None
    blocked: bool


@dataclass(frozen=True, slots=True)
class Unweighed:
    """A plan whose weight follows from these; `role` is its creator's here, None for a stranger."""

    plan: UUID
    owner: str
    metadata: dict[str, str]
    role: str | None


class Claiming:
    """The round inside one transaction of the caller."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection()

    def claim(self, session: UUID, has: Needs) -> Look:
        """The next prepared task that fits beside those that run on a site that `has` so much."""
        blocked = False
        for _ in range(RACES):
            row = self._connection.execute(
                _CLAIM,
                {
                    "token": new_token(),
                    "lease": LEASE_S,
                    "session": session,
                    "patience": PATIENCE_S,
                    "cpus": has.cpus,
                    "memory": has.memory_bytes,
                    "gpus": has.gpus,
                },
            ).one()
            blocked = row.blocked
            if row.id is not None:
                values: dict[str, Any] = dict(row._mapping)
                for name in _AWAY:
                    del values[name]
                return Look(Claimed(**{**values, "kind": Kind.TASK}), blocked)
            if not row.chosen:
                break
        return Look(None, blocked)

    def unweighed(self) -> list[Unweighed]:
        """Plans whose weight is still the normal one because nobody looked."""
        rows = self._connection.execute(_UNWEIGHED)
        return [Unweighed(row.plan, row.owner, row.metadata or {}, row.role) for row in rows]

    def weigh(self, plan: UUID, weight: float) -> None:
        self._connection.execute(_WEIGH, {"plan": plan, "weight": weight})

    def channel(self, channel: str, weight: float) -> None:
        """A channel's share; it counts from its next turn on."""
        self._connection.execute(_CHANNEL, {"channel": channel, "weight": weight})
