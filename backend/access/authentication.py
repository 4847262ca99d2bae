"""From an Authorization header to who sent it (rest-api.md 2, 3 and 19)."""

import base64
import binascii
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Select,
    Table,
    bindparam,
    cast,
    literal,
    null,
    select,
    union_all,
)

from backend.access.organizations.tables import Organization
from backend.access.tokens.secrets import digest_of
from backend.access.tokens.tables import BearerToken, ImplicitBearerToken
from backend.access.users.passwords import Passwords
from backend.access.users.tables import User, UserChannel
from backend.kit.clock import utc_now
from backend.kit.columns import core
from backend.kit.errors import Unauthenticated
from backend.node import Node
from backend.ports.ledger.errors import LedgerError

_USERS = core(User)
_CHANNELS = core(UserChannel)
_IMPLICIT = core(ImplicitBearerToken)
_BEARER = core(BearerToken)
_ORGANIZATIONS = core(Organization)

_WHO = (_USERS.c.id, _USERS.c.username, _USERS.c.active, _CHANNELS.c.channel_name, _CHANNELS.c.role)


def _of_token(table: Table, expires_at: ColumnElement[datetime], implicit: bool) -> Select[Any]:
    query = select(
        *_WHO, table.c.created, expires_at.label("expires_at"), literal(implicit).label("implicit")
    )
    return (
        query.select_from(table)
        .join(_USERS, _USERS.c.id == table.c.user_id)
        .outerjoin(_CHANNELS, _CHANNELS.c.user_id == _USERS.c.id)
        .where(table.c.key == bindparam("digest"))
    )


_NEVER = cast(null(), DateTime(timezone=True))
_TOKEN = union_all(
    _of_token(_IMPLICIT, _NEVER, True), _of_token(_BEARER, _BEARER.c.expires_at, False)
)
_PASSWORD = (
    select(*_WHO, _USERS.c.password)
    .outerjoin(_CHANNELS, _CHANNELS.c.user_id == _USERS.c.id)
    .where(_USERS.c.username == bindparam("username"))
)


@dataclass(frozen=True, slots=True)
class Account:
    """An authenticated user; `channel` and `role` are None until an administrator approved them."""

    id: int
    username: str
    channel: str | None
    role: str | None


class Authentication:
    """Checks credentials. Every failure is `Unauthenticated` with the contract's text."""

    def __init__(self, node: Node) -> None:
        self._node = node

    # ---------------------------------------------------------------- tokens
    def by_token(self, header: str | None) -> Account | None:
        """The user of `Token <secret>`; None without a header or with another scheme."""
        words = (header or "").split()
        if not words or words[0].lower() != "token":
            return None
        if len(words) == 1:
            raise Unauthenticated("Invalid token header. No credentials provided.")
        if len(words) > 2:
            message = "Invalid token header. Token string should not contain spaces."
            raise Unauthenticated(message)
        digest = digest_of(words[1], self._node.settings.SECRET_KEY)
        with self._node.database.reading() as connection:
            row = connection.execute(_TOKEN, {"digest": digest}).first()
        if row is None or (row.implicit and not self._node.settings.EXPIRY_TOKEN_ENABLED):
            raise Unauthenticated("Invalid token.")
        if not row.active:
            raise Unauthenticated("User inactive or deleted.")
        if self._expiry(row.created, row.expires_at) < utc_now():
            raise Unauthenticated("The token is expired")
        return Account(row.id, row.username, row.channel_name, row.role)

    def _expiry(self, created: datetime, expires_at: datetime | None) -> datetime:
        """A chosen moment, or for implicit tokens the creation plus the configured lifetime."""
        if expires_at is not None:
            return expires_at
        return created + timedelta(minutes=self._node.settings.EXPIRY_TOKEN_LIFETIME)

    # ----------------------------------------------------------------- basic
    def by_basic(self, header: str | None) -> Account | str | None:
        """An organization's id or a user for HTTP Basic; None without a header or with another scheme."""
        scheme, _, encoded = (header or "").strip().partition(" ")
        if scheme.lower() != "basic":
            return None
        name, password = _decoded(encoded.strip())
        peer = self._node.settings.PEERS.get(name)
        if peer is not None:
            if peer.incoming and hmac.compare_digest(password.encode(), peer.incoming.encode()):
                return name
            raise Unauthenticated("Invalid username/password.")
        return self.by_password(name, password) or _refuse()

    def by_password(self, username: str, password: str) -> Account | None:
        """The active user with this password; an unknown name costs as much time as a wrong password."""
        with self._node.database.reading() as connection:
            row = None
            if "\0" not in username:
                row = connection.execute(_PASSWORD, {"username": username}).first()
        known = row is not None and row.active and row.password
        if not Passwords.verify(password, row.password if row is not None and known else None):
            return None
        assert row is not None
        return Account(row.id, row.username, row.channel_name, row.role)

    # ------------------------------------------------------------ membership
    def is_member(self, organization: str, channel: str) -> bool:
        """Whether an organization may act in a channel, asking the ledger when our rows do not know it yet."""
        if channel not in self._node.settings.CHANNELS:
            return False
        if organization == self._node.own:
            return True
        query = select(_ORGANIZATIONS.c.id).where(
            _ORGANIZATIONS.c.channel == channel,
            _ORGANIZATIONS.c.organization_id == organization,
        )
        with self._node.database.reading() as connection:
            if connection.execute(query).first() is not None:
                return True
        try:
            members = self._node.ledger.on(channel).organizations()
        except LedgerError:
            return False
        return any(member.id == organization for member in members)


def _refuse() -> Account:
    raise Unauthenticated("Invalid username/password.")


def _decoded(encoded: str) -> tuple[str, str]:
    if not encoded:
        raise Unauthenticated("Invalid basic header. No credentials provided.")
    try:
        text = base64.b64decode(encoded, validate=True).decode()
        name, password = text.split(":", 1)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        message = "Invalid basic header. Credentials not correctly base64 encoded."
        raise Unauthenticated(message) from None
    return name, password
