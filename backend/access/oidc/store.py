"""All SQL about single sign-on users."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Row, func, insert, select, text, update
from sqlmodel import Session

from backend.access.account import OIDC, USERS
from backend.access.oidc.provider import Identity
from backend.access.oidc.usernames import namesakes
from backend.access.users.store import UserStore

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:identity, 0))")


class OidcStore:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection = session.connection()

    def lock(self, identity: Identity) -> None:
        """Two browsers of one person that sign on at the same moment make one user, not two."""
        named = f"{identity.issuer}\0{identity.subject}".replace("\0", "|")
        self._connection.execute(_LOCK, {"identity": named})

    def find(self, identity: Identity) -> Row[Any] | None:
        """(id, active) of the user that this identity is."""
        query = select(USERS.c.id, USERS.c.active).join(OIDC, OIDC.c.user_id == USERS.c.id)
        query = query.where(OIDC.c.issuer == identity.issuer, OIDC.c.subject == identity.subject)
        row: Row[Any] | None = self._connection.execute(query).one_or_none()  # type: ignore[assignment]
        return row

    def add(self, identity: Identity, name: str, channel: str | None) -> int:
        """A new user, without a password; without a channel it waits for approval."""
        users = UserStore(self._session)
        user_id = next(
            found
            for candidate in namesakes(name)
            if (found := users.add(candidate, "", identity.email)) is not None
        )
        if channel is not None:
            users.join(user_id, channel, "USER")
        values = {"issuer": identity.issuer, "subject": identity.subject}
        query = insert(OIDC).values(user_id=user_id, valid_until=func.now(), **values)
        self._connection.execute(query)
        return user_id

    def confirm(self, user_id: int, validity: timedelta, refresh_token: str | None) -> None:
        """The provider vouched for the user: good for a while again. None leaves no refresh token."""
        values = {
            "valid_until": func.now() + validity,
            "refresh_token": refresh_token,
            "refreshing_until": None,
        }
        query = update(OIDC).where(OIDC.c.user_id == user_id)
        self._connection.execute(query.values(**values))

    def claim_refresh(self, user_id: int, lease: timedelta) -> Row[Any] | None:
        """A lapsed user's (subject, refresh_token), for one process at a time; None when another one asks."""
        query = (
            update(OIDC)
            .where(
                *(OIDC.c.user_id == user_id, OIDC.c.valid_until < func.now()),
                OIDC.c.refresh_token.is_not(None),
                func.coalesce(OIDC.c.refreshing_until, func.now()) <= func.now(),
            )
            .values(refreshing_until=func.now() + lease)
            .returning(OIDC.c.subject, OIDC.c.refresh_token)
        )
        row: Row[Any] | None = self._connection.execute(query).one_or_none()
        return row

    def standing(self, user_id: int) -> Row[Any] | None:
        """(valid, refreshing, refreshable) by PostgreSQL's clock."""
        query = select(
            (OIDC.c.valid_until >= func.now()).label("valid"),
            (func.coalesce(OIDC.c.refreshing_until, func.now()) > func.now()).label("refreshing"),
            OIDC.c.refresh_token.is_not(None).label("refreshable"),
        ).where(OIDC.c.user_id == user_id)
        row: Row[Any] | None = self._connection.execute(query).one_or_none()  # type: ignore[assignment]
        return row

    def release(self, user_id: int) -> None:
        """The provider could not be asked: somebody else may try."""
        query = update(OIDC).where(OIDC.c.user_id == user_id).values(refreshing_until=None)
        self._connection.execute(query)

    def forget_refresh_token(self, user_id: int) -> None:
        """The provider refused: only a new sign-on helps."""
        values = {"refresh_token": None, "refreshing_until": None}
        self._connection.execute(update(OIDC).where(OIDC.c.user_id == user_id).values(**values))
