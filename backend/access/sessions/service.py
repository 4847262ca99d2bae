"""Beginning, prolonging and ending the front end's session (rest-api.md 3.1)."""

from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from backend.access.authentication import Authentication
from backend.access.sessions.signing import Signed, Signer, TokenInvalid
from backend.access.sessions.store import SessionStore
from backend.access.users.credentials import Credentials
from backend.kit.errors import Invalid, Unauthenticated
from backend.node import Node

CHALLENGE = 'JWT realm="api"'


class RefreshRefused(Unauthenticated):
    """401 with the code that the front end knows."""

    default = "Token is invalid or expired"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, challenge=CHALLENGE)

    def body(self) -> Any:
        return {"detail": self.detail, "code": "token_not_valid"}


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that the browser is to get."""

    access: Signed
    refresh: Signed


class SessionService:
    def __init__(self, node: Node) -> None:
        self._node = node
        self._signer = Signer(node.settings)

    def log_in(self, credentials: Credentials) -> Begun:
        """A session for a user name and a password; a user without a channel gets one too.

        Raises:
            Unauthenticated: unknown, wrong or inactive (401), all in the same words.
        """
        account = Authentication(self._node).by_password(credentials)
        if account is None:
            message = "No active account found with the given credentials"
            raise Unauthenticated(message, challenge=CHALLENGE)
        return self.begin(account.id)

    def begin(self, user_id: int) -> Begun:
        """A session for a user whose identity was proven in another way."""
        with self._node.database.transaction() as session:
            return self._give(session, user_id)

    def refresh(self, cookie: str | None) -> Begun:
        """A new session for a refresh token, which is spent by that.

        Raises:
            Invalid: no cookie (400). RefreshRefused: garbage, expired, spent, or its user is gone (401).
        """
        if not cookie:
            raise Invalid({"non_field_errors": ["refresh cookie is not present"]})
        try:
            claims = self._signer.verify("refresh", cookie)
        except TokenInvalid:
            raise RefreshRefused from None
        with self._node.database.transaction() as session:
            store = SessionStore(session)
            if not store.spend(claims.jti):
                raise RefreshRefused("Token is blacklisted" if store.is_spent(claims.jti) else None)
            if not store.is_active(claims.user_id):
                raise RefreshRefused
            return self._give(session, claims.user_id)

    def log_out(self, cookie: str | None) -> None:
        """Spend the refresh token; whoever has none, or garbage, is logged out already."""
        try:
            claims = self._signer.verify("refresh", cookie or "")
        except TokenInvalid:
            return
        with self._node.database.transaction() as session:
            SessionStore(session).spend(claims.jti)

    def _give(self, session: Session, user_id: int) -> Begun:
        begun = Begun(self._signer.sign("access", user_id), self._signer.sign("refresh", user_id))
        SessionStore(session).add(begun.refresh.claims["jti"], user_id, begun.refresh.expires_at)
        return begun
