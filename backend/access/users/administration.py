"""All accounts of an organization, for whoever runs it."""

from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from backend.access.account import CHANNELS, OIDC, USERS
from backend.access.users.tables import DELETED, EXTERNAL


def all_users(session: Session, channel: str | None) -> list[dict[str, Any]]:
    """Every user that may log in, of one channel or of all and none, by name."""
    query = (
        select(
            *(USERS.c.username, USERS.c.active, USERS.c.date_joined),
            CHANNELS.c.channel_name.label("channel"),
            CHANNELS.c.role,
            OIDC.c.user_id.is_not(None).label("single_sign_on"),
        )
        .outerjoin(CHANNELS, CHANNELS.c.user_id == USERS.c.id)
        .outerjoin(OIDC, OIDC.c.user_id == USERS.c.id)
        .where(USERS.c.username.not_in((EXTERNAL, DELETED)))
        .order_by(USERS.c.username)
    )
    if channel is not None:
        query = query.where(CHANNELS.c.channel_name == channel)
    return [dict(row._mapping) for row in session.connection().execute(query)]
