"""Making, listing and removing tokens (rest-api.md 3.3)."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from backend.access.account import Account
from backend.access.authentication import Authentication
from backend.access.tokens.secrets import digest_of, new_secret
from backend.access.tokens.store import TokenStore
from backend.access.users.credentials import BLANK, NULL, REQUIRED, Credentials
from backend.kit.clock import utc_now
from backend.kit.errors import ApiError, Invalid, NotFound
from backend.kit.filters import moment
from backend.node import Node

LONGEST_NOTE = 10_000


class ImplicitLogInDisabled(ApiError):
    status = 403
    default = "Implicit login is disabled on this server"

    def body(self) -> Any:
        return {"detail": self.detail, "substra_identifier": "implicit_login_disabled"}


class TokenService:
    def __init__(self, node: Node) -> None:
        self._node = node

    def log_in(self, fields: dict[str, Any], client: str) -> dict[str, Any]:
        """A new implicit token for a user name and a password that came from the address `client`.

        Raises:
            ImplicitLogInDisabled: switched off (403). Invalid: wrong or missing credentials (400).
            Throttled: too many wrong ones for this account (429).
        """
        settings = self._node.settings
        if not settings.EXPIRY_TOKEN_ENABLED:
            raise ImplicitLogInDisabled
        account = Authentication(self._node).by_password(Credentials.of(fields, client))
        if account is None:
            message = "Unable to log in with provided credentials."
            raise Invalid({"non_field_errors": [message]})
        lifetime = timedelta(minutes=settings.EXPIRY_TOKEN_LIFETIME)
        secret, id_, now = new_secret(), uuid4(), utc_now()
        with self._node.database.transaction() as session:
            store = TokenStore(session, account.id)
            store.drop_implicit_before(now - lifetime)
            store.add_implicit(digest_of(secret, settings.SECRET_KEY), id_, now)
        return {"id": id_, "expires_at": now + lifetime, "created_at": now, "token": secret}

    def create(self, account: Account, fields: dict[str, Any]) -> dict[str, Any]:
        """A token with a chosen expiry; its secret is shown this once.

        Raises:
            Invalid: `expires_at` is missing, null or no date; `note` is an empty text (400).
        """
        expires_at, note = _expiry(fields), fields.get("note")
        if note is not None and not isinstance(note, str):
            raise Invalid({"note": ["Not a valid string."]})
        if note is not None and not note.strip():
            raise Invalid({"note": [BLANK]})
        if note is not None and len(note) > LONGEST_NOTE:
            message = f"Ensure this field has no more than {LONGEST_NOTE} characters."
            raise Invalid({"note": [message]})
        secret, id_, now = new_secret(), uuid4(), utc_now()
        digest = digest_of(secret, self._node.settings.SECRET_KEY)
        with self._node.database.transaction() as session:
            TokenStore(session, account.id).add(digest, id_, now, expires_at, note)
        shown = {"id": id_, "note": note, "expires_at": expires_at, "created_at": now}
        return {**shown, "token": secret}

    def all_of(self, account: Account) -> dict[str, Any]:
        """Both families, newest first, expired ones too, without secrets."""
        lifetime = timedelta(minutes=self._node.settings.EXPIRY_TOKEN_LIFETIME)
        with self._node.database.transaction() as session:
            store = TokenStore(session, account.id)
            chosen, implicit = store.chosen(), store.implicit()
        return {
            "tokens": [
                {
                    "id": row.id,
                    "note": row.note,
                    "expires_at": row.expires_at,
                    "created_at": row.created,
                }
                for row in chosen
            ],
            "implicit_tokens": [
                {"id": row.id, "expires_at": row.created + lifetime, "created_at": row.created}
                for row in implicit
            ],
        }

    def remove(self, account: Account, id_: str) -> None:
        """Raises NotFound when the account has no token with this id (404)."""
        missing = NotFound("Token not found")
        try:
            key = UUID(id_)
        except ValueError:
            raise missing from None
        with self._node.database.transaction() as session:
            if not TokenStore(session, account.id).remove(key):
                raise missing


def _expiry(fields: dict[str, Any]) -> datetime:
    if "expires_at" not in fields:
        raise Invalid({"expires_at": [REQUIRED]})
    value = fields["expires_at"]
    if value is None:
        raise Invalid({"expires_at": [NULL]})
    try:
        return moment("expires_at", value if isinstance(value, str) else "")
    except Invalid:
        message = (
            "Datetime has wrong format. Use one of these formats instead: "
            "YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]."
        )
        raise Invalid({"expires_at": [message]}) from None
