"""Everybody's tokens, for whoever runs the organization: without secrets, which nobody can read."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, literal, null, select, union_all
from sqlmodel import Session

from backend.access.account import USERS
from backend.access.sessions.store import SessionStore
from backend.access.tokens.tables import BearerToken, ImplicitBearerToken
from backend.kit.clock import utc_now
from backend.kit.columns import core
from backend.settings import Settings

_BEARER, _IMPLICIT = core(BearerToken), core(ImplicitBearerToken)


def all_tokens(session: Session, settings: Settings, username: str | None) -> list[dict[str, Any]]:
    """`{"id", "user", "kind", "note", "created_at", "expires_at", "expired"}`, newest first."""
    lifetime = timedelta(minutes=settings.EXPIRY_TOKEN_LIFETIME)
    columns = (_BEARER.c.id, _BEARER.c.user_id, _BEARER.c.created)
    made = select(*columns, _BEARER.c.expires_at, _BEARER.c.note, literal("bearer").label("kind"))
    implicit = select(
        *(_IMPLICIT.c.id, _IMPLICIT.c.user_id, _IMPLICIT.c.created),
        (_IMPLICIT.c.created + lifetime).label("expires_at"),
        null().label("note"),
        literal("implicit").label("kind"),
    )
    tokens = union_all(made, implicit).subquery()
    query = select(tokens, USERS.c.username).join(USERS, USERS.c.id == tokens.c.user_id)
    if username is not None:
        query = query.where(USERS.c.username == username)
    rows = session.connection().execute(query.order_by(tokens.c.created.desc(), tokens.c.id))
    now = utc_now()
    return [
        {
            "id": row.id,
            "user": row.username,
            "kind": row.kind,
            "note": row.note,
            "created_at": row.created,
            "expires_at": row.expires_at,
            "expired": row.expires_at < now,
        }
        for row in rows
    ]


def revoke(session: Session, id_: UUID) -> bool:
    """Whether a token with this id, of either family, was there."""
    return _removed(session, lambda table: table.c.id == id_) > 0


def revoke_all(session: Session, user_id: int) -> int:
    """End all that a user holds, sessions included; how many tokens there were."""
    SessionStore(session).end_all(user_id)
    return _removed(session, lambda table: table.c.user_id == user_id)


def _removed(session: Session, which: Any) -> int:
    return sum(
        session.connection().execute(delete(table).where(which(table))).rowcount
        for table in (_BEARER, _IMPLICIT)
    )
