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
    INSERT INTO runner_session (id, token_digest, name, created) VALUES (:id, :digest, :name, now())
""")
_SEEN = text("""
    UPDATE runner_session SET last_seen = now() WHERE id = :id RETURNING token_digest
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
        self._connection.execute(_ADD, values)
        return new

    def seen(self, session: UUID) -> str | None:
        """Note a sign of life; the digest of the session's token, None when there is no such session."""
        found: str | None = self._connection.execute(_SEEN, {"id": session}).scalar()
        return found

    def canceled(self, session: UUID) -> list[UUID]:
        return list(self._connection.execute(_CANCELED, {"id": session}).scalars())

    def end(self, session: UUID) -> None:
        self._connection.execute(_END, {"id": session})

    def forget_silent(self) -> int:
        """Remove sessions that were silent for an hour; their leases ran out long ago."""
        return len(self._connection.execute(_FORGET, {"age": FORGOTTEN_S}).all())
