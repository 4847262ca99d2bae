"""Accounts that the settings or an account file name (deployment.md 6.2).

A password changed there changes the account; one changed by its user stays. Accounts that are not named are
left alone.
"""

import hashlib
import hmac
from typing import Literal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session

from backend.access.users.passwords import Passwords
from backend.access.users.tables import DELETED, EXTERNAL, User, UserChannel
from backend.kit.clock import utc_now
from backend.kit.columns import core
from backend.settings import Settings, UserSettings

_USERS = core(User)
_CHANNELS = core(UserChannel)


def provision_virtual_users(session: Session) -> None:
    """The two accounts that stand for others and log in nowhere."""
    for username in (EXTERNAL, DELETED):
        _add(session, username, active=False)


Outcome = Literal["created", "changed", "unchanged"]


def provision_user(
    session: Session, settings: Settings, user: UserSettings, password_hash: str | None = None
) -> Outcome:
    """Make one account, or change it where what is said of it changed.

    `password_hash`: stored in place of a hash of the password, for accounts that move here from elsewhere.
    """
    new = _add(session, user.username, active=True)
    connection = session.connection()
    known = connection.execute(
        select(_USERS.c.id, _USERS.c.provisioned).where(_USERS.c.username == user.username)
    ).one()
    password = password_hash or user.password
    said = f"{user.username}\0{password}\0{user.channel}\0{user.role}"
    digest, *before = [
        hmac.new(key.encode(), said.encode(), hashlib.sha256).hexdigest()
        for key in settings.secret_keys
    ]
    if known.provisioned == digest:
        return "unchanged"
    if known.provisioned is not None and known.provisioned in before:
        noted = _USERS.update().where(_USERS.c.id == known.id).values(provisioned=digest)
        connection.execute(noted)
        return "unchanged"
    changes = {
        "password": password_hash or Passwords.hash(user.password),
        "password_changed": None if new else utc_now(),
        "provisioned": digest,
        "active": True,
    }
    connection.execute(_USERS.update().where(_USERS.c.id == known.id).values(**changes))
    link = {"channel_name": user.channel, "role": user.role}
    query = insert(_CHANNELS).values(user_id=known.id, **link)
    query = query.on_conflict_do_update(index_elements=["user_id"], set_=link)
    connection.execute(query)
    return "created" if new else "changed"


def _add(session: Session, username: str, *, active: bool) -> bool:
    new = User(username=username, active=active)
    values = new.model_dump(exclude={"id"})
    query = insert(_USERS).values(**values).on_conflict_do_nothing(index_elements=["username"])
    return session.connection().execute(query).rowcount > 0
