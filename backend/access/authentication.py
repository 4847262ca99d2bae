"""From what a request carries to who sent it (rest-api.md 2, 3 and 19)."""

import base64
import binascii
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
    update,
)

from backend.access.account import COLUMNS, USERS, Account, users_with
from backend.access.organizations.secrets import incoming_hash
from backend.access.organizations.tables import Organization
from backend.access.sessions.signing import Claims, Signer, TokenInvalid
from backend.access.throttle.bucket import take
from backend.access.tokens.secrets import digest_of
from backend.access.tokens.tables import BearerToken, ImplicitBearerToken
from backend.access.users.credentials import Credentials
from backend.access.users.django_hashes import PREFIX
from backend.access.users.passwords import Passwords
from backend.kit.clock import utc_now
from backend.kit.columns import core
from backend.kit.errors import Unauthenticated
from backend.kit.statements import Statement
from backend.node import Node
from backend.ports.ledger.errors import LedgerError

_IMPLICIT = core(ImplicitBearerToken)
_BEARER = core(BearerToken)
_ORGANIZATIONS = core(Organization)


def _of_token(table: Table, expires_at: ColumnElement[datetime], implicit: bool) -> Select[Any]:
    query = select(
        table.c.user_id,
        table.c.created,
        expires_at.label("expires_at"),
        literal(implicit).label("implicit"),
    )
    return query.where(table.c.key == bindparam("digest"))


_NEVER = cast(null(), DateTime(timezone=True))
_TOKENS = union_all(
    _of_token(_IMPLICIT, _NEVER, True), _of_token(_BEARER, _BEARER.c.expires_at, False)
).subquery("token")  # joined once: to plan the joins takes longer than to carry them out
_TOKEN = Statement(
    select(*COLUMNS, _TOKENS.c.created, _TOKENS.c.expires_at, _TOKENS.c.implicit).select_from(
        users_with(_TOKENS)
    )
)
_SESSION = (
    select(*COLUMNS, USERS.c.password_changed)
    .select_from(users_with())
    .where(USERS.c.id == bindparam("id"))
)
_MOVED = USERS.alias("moved")  # users whose hash still is Django's
_DJANGO_HASH = (
    select(_MOVED.c.password).where(_MOVED.c.password.like(PREFIX + "%")).limit(1).scalar_subquery()
)
_PASSWORD = (
    select(*COLUMNS, USERS.c.password)
    .select_from(users_with())
    .where(USERS.c.username == bindparam("username"))
)


class SessionInvalid(Unauthenticated):
    """A session that the front end has to refresh: it knows this body."""

    default = "Given token not valid for any token type"

    def __init__(self) -> None:
        super().__init__(challenge='JWT realm="api"')

    def body(self) -> Any:
        message = {
            "token_class": "AccessToken",
            "token_type": "access",
            "message": "Token is invalid or expired",
        }
        return {"detail": self.detail, "code": "token_not_valid", "messages": [message]}


class Authentication:
    """Checks credentials. Every failure is `Unauthenticated` with the contract's text."""

    def __init__(self, node: Node) -> None:
        self._node = node

    # ---------------------------------------------------------------- tokens and sessions
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
        row = self._row_of(words[1])
        if row is None or (row.implicit and not self._node.settings.EXPIRY_TOKEN_ENABLED):
            raise Unauthenticated("Invalid token.")
        if not row.active:
            raise Unauthenticated("User inactive or deleted.")
        if self._expiry(row.created, row.expires_at) < utc_now():
            raise Unauthenticated("The token is expired")
        return Account.of(row)

    def _row_of(self, secret: str) -> Any:
        """The token's row, or None. One that the previous SECRET_KEY digested moves to the present one."""
        present, *before = [digest_of(secret, key) for key in self._node.settings.secret_keys]
        with self._node.database.reading() as connection:
            row = _TOKEN.first(connection, {"digest": present})
        for digest in before if row is None else ():
            with self._node.database.transaction() as session:
                for table in (_IMPLICIT, _BEARER):
                    query = update(table).where(table.c.key == digest).values(key=present)
                    session.connection().execute(query)
                row = _TOKEN.first(session.connection(), {"digest": present})
        return row

    def _expiry(self, created: datetime, expires_at: datetime | None) -> datetime:
        """A chosen moment, or for implicit tokens the creation plus the configured lifetime."""
        if expires_at is not None:
            return expires_at
        return created + timedelta(minutes=self._node.settings.EXPIRY_TOKEN_LIFETIME)

    def by_session(self, header: str | None, signature: str | None) -> Account | None:
        """The user of `JWT <header.payload>` and its cookie; None without either of them."""
        scheme, _, header_payload = (header or "").strip().partition(" ")
        if scheme.lower() != "jwt" or not signature:
            return None
        try:
            text = f"{header_payload.strip()}.{signature}"
            claims = Signer(self._node.settings).verify("access", text)
        except TokenInvalid:
            raise SessionInvalid from None
        with self._node.database.reading() as connection:
            row = connection.execute(_SESSION, {"id": claims.user_id}).first()
        if row is None or not row.active:
            raise Unauthenticated("User inactive or deleted.", challenge='JWT realm="api"')
        if _is_older(claims, row.password_changed):
            raise SessionInvalid
        return Account.of(row)

    # ----------------------------------------------------------------- passwords
    def by_basic(self, header: str | None, client: str) -> Account | str | None:
        """An organization's id or a user for HTTP Basic; None without a header or with another scheme.

        Raises:
            Unauthenticated: malformed, unknown or wrong (401). Throttled: too many were wrong (429).
        """
        scheme, _, encoded = (header or "").strip().partition(" ")
        if scheme.lower() != "basic":
            return None
        name, password = _decoded(encoded.strip())
        known = incoming_hash(self._node.database, name)
        if known is not None and self._node.verified.knows(password, known):
            return name
        counted = take(self._node.database, "basic", client, self._rate)
        identity: Account | str | None
        if known is None:
            identity = self.by_password(Credentials(name, password, client))
        else:
            identity = name if self._node.verified.check(password, known) else None
        if identity is None:
            raise Unauthenticated("Invalid username/password.")
        counted.give_back()
        return identity

    def by_password(self, credentials: Credentials) -> Account | None:
        """The active user with this password; an unknown name costs as much time as a wrong password.

        Raises:
            Throttled: the account had too many wrong passwords in the last minute (429).
        """
        counted = take(self._node.database, "account", credentials.username, self._rate)
        with self._node.database.reading() as connection:
            row = None
            if "\0" not in credentials.username:
                row = connection.execute(_PASSWORD, {"username": credentials.username}).first()
            django_hash = connection.execute(select(_DJANGO_HASH)).scalar()
        known = row.password if row is not None and row.active and row.password else None
        if not Passwords.verify(credentials.password, known, django_hash):
            return None
        assert row is not None
        counted.give_back()
        if Passwords.is_outdated(row.password):
            self._upgrade(row.id, row.password, credentials.password)
        return Account.of(row)

    @property
    def _rate(self) -> int:
        return self._node.settings.DEFAULT_THROTTLE_RATES

    def _upgrade(self, user_id: int, outdated: str, password: str) -> None:
        """Replace a hash by the current kind, unless somebody changed it meanwhile."""
        query = update(USERS).where(USERS.c.id == user_id, USERS.c.password == outdated)
        with self._node.database.transaction() as session:
            session.connection().execute(query.values(password=Passwords.hash(password)))

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


def _is_older(claims: Claims, password_changed: datetime | None) -> bool:
    """Whether a session began before the password changed; sessions know whole seconds only."""
    return password_changed is not None and claims.issued_at < int(password_changed.timestamp())


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
