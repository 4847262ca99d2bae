"""All SQL about refresh tokens."""

from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlmodel import Session

from backend.access.sessions.tables import RefreshToken
from backend.access.users.tables import User
from backend.kit.columns import core

_TOKENS = core(RefreshToken)
_USERS = core(User)


class SessionStore:
    def __init__(self, session: Session) -> None:
        self._connection = session.connection()

    def add(self, jti: str, user_id: int, expires_at: datetime) -> None:
        """Remember a token that is given out, and forget the user's expired ones."""
        gone = (_TOKENS.c.user_id == user_id, _TOKENS.c.expires_at < func.now())
        self._connection.execute(delete(_TOKENS).where(*gone))
        values = {"jti": jti, "user_id": user_id, "expires_at": expires_at}
        self._connection.execute(insert(_TOKENS).values(**values))

    def spend(self, jti: str) -> bool:
        """Blacklist a token; False when it was spent before or never given: of two that race, one wins."""
        query = update(_TOKENS).values(blacklisted_at=func.now())
        query = query.where(_TOKENS.c.jti == jti, _TOKENS.c.blacklisted_at.is_(None))
        return self._connection.execute(query).rowcount > 0

    def is_spent(self, jti: str) -> bool:
        query = select(_TOKENS.c.jti)
        query = query.where(_TOKENS.c.jti == jti, _TOKENS.c.blacklisted_at.is_not(None))
        return self._connection.execute(query).first() is not None

    def is_active(self, user_id: int) -> bool:
        query = select(_USERS.c.id).where(_USERS.c.id == user_id, _USERS.c.active)
        return self._connection.execute(query).first() is not None

    def end_all(self, user_id: int) -> None:
        """End every session of a user: its password changed."""
        query = update(_TOKENS).values(blacklisted_at=func.now())
        unspent = (_TOKENS.c.user_id == user_id, _TOKENS.c.blacklisted_at.is_(None))
        self._connection.execute(query.where(*unspent))
