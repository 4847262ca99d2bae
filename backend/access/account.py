"""An authenticated user, and the columns from which it is read: one query tells all about a caller."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from sqlalchemy import FromClause

from backend.access.oidc.tables import UserOidcInfo
from backend.access.users.tables import User, UserChannel
from backend.kit.columns import core

USERS = core(User)
CHANNELS = core(UserChannel)
OIDC = core(UserOidcInfo)

COLUMNS = (
    *(USERS.c.id, USERS.c.username, USERS.c.active),
    *(CHANNELS.c.channel_name, CHANNELS.c.role, OIDC.c.valid_until),
)


def users_with(source: FromClause | None = None) -> FromClause:
    """The FROM clause of `COLUMNS`; a `source` with a column `user_id` stands before it."""
    users: FromClause = USERS
    if source is not None:
        users = source.join(USERS, USERS.c.id == source.c.user_id)
    users = users.outerjoin(CHANNELS, CHANNELS.c.user_id == USERS.c.id)
    return users.outerjoin(OIDC, OIDC.c.user_id == USERS.c.id)


@dataclass(frozen=True, slots=True)
class Account:
    """An authenticated user; `channel` and `role` are None until an administrator approved them.

    `valid_until`: until when a single sign-on user may work without a new sign-on; None for all others.
    """

    id: int
    username: str
    channel: str | None
    role: str | None
    valid_until: datetime | None = None

    @classmethod
    def of(cls, row: Any) -> Self:
        """From a row that has `COLUMNS`."""
        return cls(row.id, row.username, row.channel_name, row.role, row.valid_until)
