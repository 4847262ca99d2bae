"""The work queue: all SQL of the table `work`.

Claim (`FOR UPDATE SKIP LOCKED`, a fresh lock token, an expiry) → do the slow thing outside any transaction →
settle where the token still matches. Expiry only permits another claim (rule 9).
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, text
from sqlmodel import Session

from backend.engine.compute.tables import Kind

LEASE_S = 6
HEARTBEAT_S = 2
ATTEMPTS = 5
"""Claims of one task that may end without a result before it fails for good."""
TOPIC = {
    Kind.TASK: "new",
    Kind.BUILD: "build",
    Kind.CANCEL: "chore",
    Kind.DISABLE: "chore",
    Kind.DELETE: "chore",
}
"""The signal that the loop waits on which does this kind of work (`wakeups.Wakeups`)."""
URGENT = {Kind.CANCEL: 1}
"""Chores that stand before all others: thousands of outputs to remove must not hold up a cancel."""


@dataclass(frozen=True, slots=True)
class NewWork:
    kind: Kind
    key: UUID
    channel: str
    compute_plan_key: UUID | None = None
    priority: int = 0
    offer: dict[str, Any] | None = None
    """A task's lease when it needs no preparation: it is READY from the start. `resources` is what it takes."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Work that is ours until the lease ends; `attempts` counts this claim too."""

    id: int
    kind: Kind
    key: UUID
    channel: str
    compute_plan_key: UUID | None
    attempts: int
    lock_token: str
    offer: dict[str, Any] | None = None
    canceled: bool = False
    more: bool = False
    """Other tasks were ready when this one was claimed."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat found: leases that are no longer the caller's, and tasks to stop."""

    lost: tuple[UUID, ...] = ()
    canceled: tuple[UUID, ...] = ()


def _claimed(row: Row[Any]) -> Claimed:
    values = dict(row._mapping)
    return Claimed(**{**values, "kind": Kind(values["kind"])})


NOTHING = {"cpus": 0.0, "memory_bytes": 0, "gpus": 0.0}
_COLUMNS = (
    "work.id, work.kind, work.key, work.channel, work.compute_plan_key, work.attempts, work.lock_token, "
    "work.offer, work.canceled"
)
_LEASED = (
    "state = 'leased', lock_token = :token, leased_until = now() + make_interval(secs => :lease), "
    "attempts = attempts + 1, session = :session, changed = now(), cause = NULL"
)

_ADD = text("""
    WITH r AS (
        SELECT * FROM json_to_recordset(CAST(:rows AS json))
             AS r(kind text, key uuid, channel text, compute_plan_key uuid, priority int, offer jsonb,
                  cpus float8, memory_bytes int8, gpus float8)
    ), clocks AS (
        INSERT INTO work_clock (channel)
        SELECT DISTINCT channel FROM r WHERE kind = 'task' ORDER BY channel ON CONFLICT DO NOTHING
    ), turns AS (
        INSERT INTO work_turn (compute_plan_key, channel)
        SELECT DISTINCT compute_plan_key, channel FROM r
        WHERE kind = 'task' AND compute_plan_key IS NOT NULL ORDER BY compute_plan_key
        ON CONFLICT DO NOTHING
    )
    INSERT INTO work (kind, key, channel, compute_plan_key, priority, offer, cpus, memory_bytes, gpus,
                      state, attempts, canceled)
    SELECT kind, key, channel, compute_plan_key, priority, offer, cpus, memory_bytes, gpus,
           CASE WHEN offer IS NULL THEN 'new' ELSE 'ready' END, 0, false
    FROM r
    ON CONFLICT (kind, key) DO UPDATE
        SET state = 'new', attempts = 0, not_before = now(), changed = now()
        WHERE work.state = 'done' AND work.kind = 'disable'
    RETURNING kind, state
""")
_CLAIM = text(f"""
    UPDATE work SET {_LEASED}
    FROM (SELECT id FROM work WHERE kind = ANY(:kinds) AND state = 'new' AND not_before <= now()
          ORDER BY priority DESC, created, id LIMIT 1 FOR UPDATE SKIP LOCKED) AS candidate
    WHERE work.id = candidate.id RETURNING {_COLUMNS}
""")  # noqa: S608
_HELD = text(f"""
    UPDATE work SET leased_until = now() + make_interval(secs => :lease)
    WHERE kind = 'task' AND state = 'leased' AND session = :session RETURNING {_COLUMNS}
""")  # noqa: S608
_BEAT = text("""
    UPDATE work
    SET state = CASE WHEN state = 'ready' THEN 'leased' ELSE state END, session = :session,
        leased_until = now() + make_interval(secs => :lease)
    FROM json_to_recordset(CAST(:rows AS json)) AS r(key uuid, lock_token text)
    WHERE work.kind = 'task' AND work.key = r.key AND work.lock_token = r.lock_token
      AND work.state IN ('leased', 'ready')
    RETURNING work.key, work.canceled
""")
_STOPPED = text("""
    SELECT key FROM work WHERE kind = 'task' AND canceled AND key = ANY(:keys)
""")
_EXTEND = text("""
    UPDATE work SET leased_until = now() + make_interval(secs => :lease)
    WHERE id = :id AND lock_token = :token AND state IN ('leased', 'preparing') RETURNING id
""")
_SETTLE = text("""
    UPDATE work SET state = 'done', leased_until = NULL, session = NULL, last_error = NULL, cause = NULL,
                    changed = now()
    WHERE id = :id AND lock_token = :token AND state IN ('leased', 'preparing') RETURNING id
""")
_RETRY = text("""
    UPDATE work SET state = 'new', leased_until = NULL, session = NULL, last_error = :error, cause = :cause,
                    attempts = attempts - :uncounted,
                    not_before = now() + make_interval(secs => :after), changed = now()
    WHERE id = :id AND lock_token = :token AND state IN ('leased', 'preparing') RETURNING id
""")
_SWEEP = text("""
    UPDATE work SET state = CASE WHEN kind = 'task' AND state = 'leased' THEN 'ready' ELSE 'new' END,
                    leased_until = NULL, last_error = 'the lease ran out', changed = now()
    WHERE state IN ('leased', 'preparing') AND leased_until < now()
    RETURNING kind, key
""")
_DEAD = text("""
    UPDATE work SET state = CASE WHEN kind = 'task' AND state = 'leased' THEN 'ready' ELSE 'new' END,
                    leased_until = NULL, last_error = :reason, changed = now()
    WHERE state IN ('leased', 'preparing') AND session = :session
    RETURNING kind, key
""")
_INHERIT = text("""
    UPDATE work SET state = 'new', leased_until = NULL, session = NULL, not_before = now(), changed = now(),
                    last_error = 'the process that did it died'
    WHERE kind = ANY(:kinds) AND session IS DISTINCT FROM :holder
      AND (state = 'preparing' OR (state = 'leased' AND kind <> 'task'))
    RETURNING kind, key
""")


class WorkQueue:
    """The queue inside one transaction of the caller."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, works: Sequence[NewWork]) -> set[str]:
        """Insert what is not there yet; return the signals to fire after the commit."""
        if not works:
            return set()
        unique = {(w.kind, w.key): w for w in works}.values()
        rows = _document(
            {
                "kind": w.kind,
                "key": w.key,
                "channel": w.channel,
                "compute_plan_key": w.compute_plan_key,
                "priority": w.priority or URGENT.get(w.kind, 0),
                "offer": w.offer,
                **NOTHING,
                **(w.offer or {}).get("resources", {}),
            }
            for w in unique
        )
        opened = self._execute(_ADD, rows=rows)
        return {"ready" if state == "ready" else TOPIC[Kind(kind)] for kind, state in opened}

    def held(self, session: UUID) -> Claimed | None:
        """The lease that this session has already, whose answer it may never have got."""
        row = self._execute(_HELD, session=session, lease=LEASE_S).first()
        return _claimed(row) if row else None

    def claim(self, kinds: Iterable[Kind], holder: UUID) -> Claimed | None:
        """The next work of ring 1 (no tasks: their leases go to runners)."""
        row = self._execute(
            _CLAIM, kinds=list(kinds), token=new_token(), lease=LEASE_S, session=holder
        ).first()
        return _claimed(row) if row else None

    def beat(self, session: UUID, leases: Mapping[UUID, str]) -> Beat:
        """Extend the leases of a runner; one that ran out, and that nobody else took, is its own again."""
        if not leases:
            return Beat()
        rows = _document({"key": key, "lock_token": token} for key, token in leases.items())
        kept = self._execute(_BEAT, rows=rows, session=session, lease=LEASE_S).all()
        alive = {row.key for row in kept}
        canceled = {row.key for row in kept if row.canceled}
        gone = [key for key in leases if key not in alive]
        if gone:
            canceled |= set(self._execute(_STOPPED, keys=gone).scalars())
        return Beat(tuple(gone), tuple(sorted(canceled)))

    def extend(self, work: Claimed) -> bool:
        """Extend a lease of ring 1; False when it is somebody else's now."""
        found = self._execute(_EXTEND, id=work.id, token=work.lock_token, lease=LEASE_S)
        return found.first() is not None

    def settle(self, work: Claimed) -> bool:
        """The work is done; False (and no change) when the lease was lost."""
        return self._execute(_SETTLE, id=work.id, token=work.lock_token).first() is not None

    def retry(
        self,
        work: Claimed,
        error: str,
        *,
        after_s: float,
        cause: str | None = None,
        counted: bool = True,
    ) -> bool:
        """Give the work back for later; `cause` is what `status` shows for the wait.

        `counted=False`: the claim was not the work's fault and does not count among its attempts.
        """
        found = self._execute(
            _RETRY,
            id=work.id,
            token=work.lock_token,
            error=error[:2000],
            cause=cause,
            after=after_s,
            uncounted=0 if counted else 1,
        )
        return found.first() is not None

    def sweep(self) -> list[tuple[Kind, UUID]]:
        """Open again what nobody keeps alive. The token stays: a late result is still welcome."""
        return [(Kind(row.kind), row.key) for row in self._execute(_SWEEP)]

    def report_dead(
        self, session: UUID, reason: str = "the worker died"
    ) -> list[tuple[Kind, UUID]]:
        """A pool saw this session die: open its leases at once, without waiting for their expiry."""
        rows = self._execute(_DEAD, session=session, reason=reason[:2000])
        return [(Kind(row.kind), row.key) for row in rows]

    def inherit(self, kinds: Iterable[Kind], holder: UUID) -> list[tuple[Kind, UUID]]:
        """Open again what another process of ring 1 had begun: its loop's lease is ours now, so it is gone."""
        rows = self._execute(_INHERIT, kinds=list(kinds), holder=holder)
        return [(Kind(row.kind), row.key) for row in rows]

    def _execute(self, statement: Any, **parameters: Any) -> Any:
        return self._session.connection().execute(statement, parameters)


def new_token() -> str:
    return secrets.token_hex(16)


def _document(rows: Iterable[Mapping[str, Any]]) -> str:
    return orjson.dumps(list(rows)).decode()
