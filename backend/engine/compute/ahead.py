"""Tasks that start ahead of the ledger's word: as soon as the results of their parents are committed here.

A chain on one organization would else wait at every link for three calls to the ledger, the event of the last
one, and what the event means. Nothing that matters is decided early: the parent's result is in the outbox and
final (rule 1), so is the file's key (uuid5 of task, output and index), and the ledger permitted the input when
the task was registered. EXECUTING is told after the parents' DONE, no result is taken before it was accepted,
and nothing leaves the machine before that (rule 2). If the parents come to nothing, the function ends.

The bridge keeps the leases of such tasks in `task_ahead`, some links before they are due; giving the last
parent's result opens one (`next_function`); where that comes too early, the event opens it as ever. So the
bridge need not hurry: it applies the events of several links in one transaction, which is cheaper.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text
from sqlmodel import Session

DEPTH = 16
"""Links that are prepared before they are due: more than run while the bridge waits for company."""
WIDTH = 8
"""Tasks prepared ahead of one parent, more would find no runner; each has one child prepared, and so on."""
MOST_BYTES = 256 << 20
"""Models up to this size are stored while the runner waits for its answer; larger ones go the ledger's way."""
AFTER = "after"
"""Member of a lease that is not the runner's: parents of ours that were not DONE when it was made."""

_LINE = text("""
    WITH RECURSIVE due AS (
        DELETE FROM task_ahead WHERE task_key = ANY(:keys) RETURNING task_key, offer
    ), line AS (
        SELECT key, 0 AS depth FROM unnest(CAST(:keys AS uuid[])) AS k(key)
        UNION
        SELECT child.task_key, line.depth + 1 FROM line CROSS JOIN LATERAL (
            SELECT i.task_key, row_number() OVER () AS number
            FROM compute_task_input i JOIN compute_task t ON t.key = i.task_key
            WHERE i.parent_task_key = line.key AND t.worker = :me
              AND t.status = 'STATUS_WAITING_FOR_PARENT_TASKS' LIMIT :width) child
        WHERE line.depth < :depth AND (line.depth = 0 OR child.number = 1)
    )
    SELECT line.key, min(line.depth) AS depth, due.offer, EXISTS (
               SELECT 1 FROM work w WHERE w.kind = 'task' AND w.key = line.key) AS queued
    FROM line LEFT JOIN due ON due.task_key = line.key
    WHERE line.depth = 0 OR NOT EXISTS (SELECT 1 FROM task_ahead a WHERE a.task_key = line.key)
    GROUP BY line.key, due.offer ORDER BY min(line.depth), line.key LIMIT :most
""")
_KEEP = text("""
    INSERT INTO task_ahead (task_key, channel, compute_plan_key, offer)
    SELECT task_key, channel, compute_plan_key, offer FROM json_to_recordset(CAST(:rows AS json))
           AS r(task_key uuid, channel text, compute_plan_key uuid, offer jsonb)
    ON CONFLICT DO NOTHING
""")
_DROP = text("DELETE FROM task_ahead WHERE compute_plan_key = ANY(:plans)")
_OPEN = text("SELECT open_next_tasks_1(:task)")
_HOPELESS = text("""
    SELECT EXISTS (SELECT 1 FROM compute_task t JOIN compute_plan p ON p.key = t.compute_plan_key
                   WHERE t.key = :task AND p.status IN ('PLAN_STATUS_CANCELED', 'PLAN_STATUS_FAILED'))
""")


@dataclass(frozen=True, slots=True)
class Due:
    """A task that the ledger calls ready. `queued`: its work is there; `offer`: its lease was kept for it."""

    key: UUID
    queued: bool
    offer: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A lease for later."""

    task: UUID
    channel: str
    plan: UUID
    offer: dict[str, Any]


class AheadStore:
    """The table inside one transaction of the caller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    def of(cls, session: Session) -> "AheadStore":
        return cls(session.connection())

    def line(self, me: str, keys: Sequence[UUID], most: int) -> tuple[list[Due], list[UUID]]:
        """What is known of tasks that became ready (their kept leases are taken), and whom to prepare next.

        A large batch prepares nobody ahead: its tasks keep all runners busy.
        """
        depth = DEPTH if len(keys) <= WIDTH else 0
        values = {"keys": list(keys), "me": me, "depth": depth, "width": WIDTH, "most": most}
        rows = self._connection.execute(_LINE, values).all()
        due = [Due(row.key, row.queued, row.offer) for row in rows if row.depth == 0]
        return due, [row.key for row in rows if row.depth > 0 and not row.queued]

    def keep(self, leases: Iterable[Kept]) -> None:
        rows = [
            {
                "task_key": kept.task,
                "channel": kept.channel,
                "compute_plan_key": kept.plan,
                "offer": kept.offer,
            }
            for kept in leases
        ]
        if rows:
            self._connection.execute(_KEEP, {"rows": orjson.dumps(rows).decode()})

    def drop(self, plans: Sequence[UUID]) -> None:
        """These plans ended: nobody is to start early."""
        self._connection.execute(_DROP, {"plans": list(plans)})

    def open(self, task: UUID) -> list[UUID]:
        """The task's result is committed and stored: those that waited for nothing else are READY now."""
        return list(self._connection.execute(_OPEN, {"task": task}).scalars())

    def hopeless(self, task: UUID) -> bool:
        """True when the task's plan has ended, so that it will never be called ready."""
        return bool(self._connection.execute(_HOPELESS, {"task": task}).scalar())
