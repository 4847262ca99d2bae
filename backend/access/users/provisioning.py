"""Accounts that the settings name, made at every start (deployment.md 6.2).

A password changed in the settings changes the account; one changed by its user stays. Accounts that the
settings do not name are left alone.
"""

import hashlib
import hmac

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session

from backend.access.users.passwords import Passwords
from backend.access.users.tables import DELETED, EXTERNAL, User, UserChannel
from backend.kit.columns import core
from backend.node import Node
from backend.settings import UserSettings

_LOCK = 0x5B57B
_USERS = core(User)
_CHANNELS = core(UserChannel)


def provision(node: Node) -> None:
    """Make the listed accounts and the two that stand for others; one process at a time."""
    key = node.settings.SECRET_KEY
    with node.database.transaction() as session:
        session.connection().execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        for username in (EXTERNAL, DELETED):
            _add(session, username, active=False)
        for user in sorted(node.settings.USERS, key=lambda user: user.username):
            _settle(session, user, key)


def _add(session: Session, username: str, *, active: bool) -> None:
    new = User(username=username, active=active)
    values = new.model_dump(exclude={"id"})
    query = insert(_USERS).values(**values).on_conflict_do_nothing(index_elements=["username"])
    session.connection().execute(query)


def _settle(session: Session, user: UserSettings, key: str) -> None:
    _add(session, user.username, active=True)
    connection = session.connection()
    known = connection.execute(
        select(_USERS.c.id, _USERS.c.provisioned).where(_USERS.c.username == user.username)
    ).one()
    said = f"{user.username}\0{user.password}\0{user.channel}\0{user.role}"
    digest = hmac.new(key.encode(), said.encode(), hashlib.sha256).hexdigest()
    if known.provisioned == digest:
        return
    changes = {"password": Passwords.hash(user.password), "provisioned": digest, "active": True}
    connection.execute(_USERS.update().where(_USERS.c.id == known.id).values(**changes))
    link = {"channel_name": user.channel, "role": user.role}
    query = insert(_CHANNELS).values(user_id=known.id, **link)
    query = query.on_conflict_do_update(index_elements=["user_id"], set_=link)
    connection.execute(query)
