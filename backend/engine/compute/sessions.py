"""Runner sessions: who may ask for leases. Only a keyed digest of a session's token is stored."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlmodel import Session

FORGOTTEN_S = 3600
_ADD = text("""
    INSERT INTO runner_session (id, token_digest, name, compute_plan_key, image_group, created)
    VALUES (:id, :digest, :name, :plan, :group, now())
""")
_SEEN = text("""
    UPDATE runner_session SET last_seen = now() WHERE id = :id
    RETURNING token_digest, compute_plan_key, image_group
""")
_CANCELED = text("""
    SELECT key FROM work WHERE kind = 'task' AND session = :id AND canceled AND state = 'leased'
""")
_END = text("DELETE FROM runner_session WHERE id = :id")
_FORGET = text("""
    DELETE FROM runner_session
    WHERE COALESCE(last_seen, created) < now() - make_interval(secs => :age) RETURNING id
""")


@dataclass(frozen=True, slots=True)
class NewSession:
    id: UUID
    token: str


@dataclass(frozen=True, slots=True)
class Bound:
    """What a pod's session is for: tasks of this plan that run in this function image."""

    plan: UUID
    group: str


@dataclass(frozen=True, slots=True)
class Known:
    """A session that there is; `bound` is None for a runner, which takes any task."""

    token_digest: str
    bound: Bound | None


def digest(secret: str, token: str) -> str:
    """What is stored of a token: HMAC-SHA-256 in hex."""
    return hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()


class SessionStore:
    """Runner sessions inside one transaction of the caller."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection()

    def open(self, secret: str, name: str) -> NewSession:
        """A new session; its token is known to the caller alone."""
        new = NewSession(uuid4(), secrets.token_urlsafe(32))
        values = {"id": new.id, "digest": digest(secret, new.token), "name": name}
        self._connection.execute(_ADD, values | {"plan": None, "group": None})
        return new

    def open_in_pod(self, secret: str, new: NewSession, name: str, bound: Bound) -> None:
        """A session whose id and token its pod can work out itself."""
        values = {"id": new.id, "digest": digest(secret, new.token), "name": name}
        values |= {"plan": bound.plan, "group": bound.group}
        self._connection.execute(_ADD, values)

    def seen(self, session: UUID) -> Known | None:
        """Note a sign of life; None when there is no such session."""
        row = self._connection.execute(_SEEN, {"id": session}).first()
        if row is None:
            return None
        bound = Bound(row.compute_plan_key, row.image_group) if row.image_group else None
        return Known(row.token_digest, bound)

    def canceled(self, session: UUID) -> list[UUID]:
        return list(self._connection.execute(_CANCELED, {"id": session}).scalars())

    def end(self, session: UUID) -> None:
        self._connection.execute(_END, {"id": session})

    def forget_silent(self) -> int:
        """Remove sessions that were silent for an hour; their leases ran out long ago."""
        return len(self._connection.execute(_FORGET, {"age": FORGOTTEN_S}).all())
