"""All SQL about accounts of people."""

from typing import Any

from sqlalchemy import Row, Select, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlmodel import Session

from backend.access.account import CHANNELS, OIDC, USERS
from backend.access.sessions.store import SessionStore
from backend.access.tokens.store import TokenStore
from backend.access.users.tables import DELETED, EXTERNAL, User
from backend.kit.clock import utc_now
from backend.kit.filters import choices_in, matching, ordered_by
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters

ROLES = ("ADMIN", "USER")
_ORDERING: dict[str, Any] = {"username": USERS.c.username}
_SHOWN = (
    USERS.c.username,
    CHANNELS.c.channel_name.label("channel"),
    CHANNELS.c.role,
    OIDC.c.user_id.is_not(None).label("is_external_user"),
)


def users_of(channel: str) -> Select[Any]:
    """The users of a channel, as clients see them."""
    return (
        select(*_SHOWN)
        .join(CHANNELS, CHANNELS.c.user_id == USERS.c.id)
        .outerjoin(OIDC, OIDC.c.user_id == USERS.c.id)
        .where(CHANNELS.c.channel_name == channel)
    )


def awaiting_approval() -> Select[Any]:
    """Active users without a channel; those that stand for others are never among them."""
    return (
        select(USERS.c.id, USERS.c.username, USERS.c.email)
        .outerjoin(CHANNELS, CHANNELS.c.user_id == USERS.c.id)
        .where(CHANNELS.c.user_id.is_(None), USERS.c.active)
        .where(USERS.c.username.not_in((EXTERNAL, DELETED)))
    )


def wire(row: Row[Any]) -> dict[str, Any]:
    """`User` (rest-api.md 4)."""
    return {
        "username": row.username,
        "channel": row.channel,
        "role": row.role,
        "is_external_user": row.is_external_user,
    }


class UserStore:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection = session.connection()

    def page(self, channel: str, parameters: Parameters, request: PageRequest) -> Page:
        """Raises Invalid for a role that there is not (400)."""
        query = users_of(channel).where(
            *choices_in(parameters, "role", CHANNELS.c.role, ROLES),
            *matching(parameters, [USERS.c.username]),
        )
        return request.rows(self._session, query, _order(parameters))

    def awaiting_page(self, parameters: Parameters, request: PageRequest) -> Page:
        query = awaiting_approval().where(*matching(parameters, [USERS.c.username]))
        return request.rows(self._session, query, _order(parameters))

    def find(self, channel: str, username: str) -> Row[Any] | None:
        query: Select[Any] = users_of(channel).where(USERS.c.username == username)
        return self._connection.execute(query).one_or_none()

    def awaiting(self, username: str) -> int | None:
        """The id of a user that waits for approval."""
        query = awaiting_approval().where(USERS.c.username == username)
        row = self._connection.execute(query).first()
        return None if row is None else int(row.id)

    def account(self, username: str) -> Row[Any] | None:
        """(id, username, password, channel, active) of any user that may log in."""
        query: Select[Any] = (
            select(
                *(USERS.c.id, USERS.c.username, USERS.c.password, USERS.c.active),
                CHANNELS.c.channel_name.label("channel"),
            )
            .outerjoin(CHANNELS, CHANNELS.c.user_id == USERS.c.id)
            .where(USERS.c.username == username)
            .where(USERS.c.username.not_in((EXTERNAL, DELETED)))
        )
        return self._connection.execute(query).one_or_none()

    def add(self, username: str, password_hash: str, email: str = "") -> int | None:
        """The new user's id; None when the name is taken."""
        values = User(username=username, password=password_hash, email=email).model_dump(
            exclude={"id"}
        )
        query = upsert(USERS).values(**values).on_conflict_do_nothing(index_elements=["username"])
        found = self._connection.execute(query.returning(USERS.c.id)).scalar_one_or_none()
        return None if found is None else int(found)

    def join(self, user_id: int, channel: str, role: str) -> bool:
        """Give a user without a channel one; False when it has one meanwhile."""
        values = {"user_id": user_id, "channel_name": channel, "role": role}
        query = upsert(CHANNELS).values(**values).on_conflict_do_nothing(index_elements=["user_id"])
        return self._connection.execute(query).rowcount > 0

    def move(self, user_id: int, channel: str, role: str) -> None:
        """Set channel and role, whatever they were."""
        self._connection.execute(delete(CHANNELS).where(CHANNELS.c.user_id == user_id))
        values = {"user_id": user_id, "channel_name": channel, "role": role}
        self._connection.execute(insert(CHANNELS).values(**values))

    def set_role(self, channel: str, username: str, role: str) -> bool:
        """False when the channel has no such user."""
        user_id = select(USERS.c.id).where(USERS.c.username == username).scalar_subquery()
        query = update(CHANNELS).values(role=role)
        query = query.where(CHANNELS.c.user_id == user_id, CHANNELS.c.channel_name == channel)
        return self._connection.execute(query).rowcount > 0

    def set_password(self, user_id: int, password_hash: str, instead_of: str | None = None) -> bool:
        """A new password ends what the old one began: sessions and implicit tokens.

        Tokens made for programs stay: they were not made with it.

        `instead_of`: only if this is still the hash; False when it is not.
        """
        query = update(USERS).where(USERS.c.id == user_id)
        if instead_of is not None:
            query = query.where(USERS.c.password == instead_of)
        query = query.values(password=password_hash, password_changed=utc_now())
        if self._connection.execute(query).rowcount == 0:
            return False
        SessionStore(self._session).end_all(user_id)
        TokenStore(self._session, user_id).drop_implicit()
        return True

    def remove(self, user_id: int) -> None:
        """With tokens and sessions; its plans stay and show the creator `deleted`."""
        self._connection.execute(delete(USERS).where(USERS.c.id == user_id))


def _order(parameters: Parameters) -> list[Any]:
    return ordered_by(parameters, _ORDERING, [USERS.c.username], USERS.c.id)
