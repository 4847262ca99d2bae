"""Accounts of a channel, managed by its administrators; passwords, by their owners (rest-api.md 4)."""

from typing import Any

from sqlalchemy import Row

from backend.access.caller import Caller
from backend.access.users.password_rules import broken_rules
from backend.access.users.passwords import Passwords
from backend.access.users.reset_links import ResetLinks
from backend.access.users.store import ROLES, UserStore, wire
from backend.kit.errors import BadRequest, Invalid, NotFound, PermissionDenied, Unauthenticated
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.node import Node

LONGEST_NAME = 150
DEFAULT_ROLE = "USER"


def role_of(fields: dict[str, Any], default: str | None = DEFAULT_ROLE) -> str | None:
    """Raises Invalid for a role that there is not (400)."""
    if "role" not in fields:
        return default
    role = fields["role"]
    if role not in ROLES:
        raise Invalid({"role": "Invalid role"})
    return str(role)


def check_password(password: str, username: str, shortest: int) -> None:
    """Raises Invalid (400): a list of sentences, the contract's shape here."""
    if messages := broken_rules(password, username, shortest):
        raise Invalid(messages)


class UserService:
    """What a caller may do with the users of its channel."""

    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._caller = caller

    def page(self, parameters: Parameters) -> tuple[Page, list[dict[str, Any]]]:
        wanted = PageRequest.of(parameters, maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE)
        with self._node.database.transaction(durable=False) as session:
            page = UserStore(session).page(self._caller.channel, parameters, wanted)
        return page, [wire(row) for row in page.rows]

    def show(self, username: str) -> dict[str, Any]:
        with self._node.database.transaction(durable=False) as session:
            return wire(self._find(UserStore(session), username))

    def create(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A new user of the administrator's channel.

        Raises:
            Invalid: a field is missing or wrong, or the password breaks a rule (400).
            BadRequest: the name is taken (400).
        """
        username, role = _new_name(fields), role_of(fields)
        password = fields.get("password")
        if not isinstance(password, str) or not password:
            raise Invalid(["Missing password"])
        check_password(password, username, self._node.settings.PASSWORD_MINIMUM_LENGTH)
        with self._node.database.transaction() as session:
            store = UserStore(session)
            id_ = store.add(username, Passwords.hash(password))
            if id_ is None:
                raise BadRequest("Username already exists")
            store.join(id_, self._caller.channel, role or DEFAULT_ROLE)
            return wire(self._find(store, username))

    def change(self, username: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Change the role; other fields are ignored."""
        role = role_of(fields, None)
        with self._node.database.transaction() as session:
            store = UserStore(session)
            self._find(store, username)
            if role is not None:
                store.set_role(self._caller.channel, username, role)
            return wire(self._find(store, username))

    def remove(self, username: str) -> None:
        with self._node.database.transaction() as session:
            store = UserStore(session)
            self._find(store, username)
            account = store.account(username)
            if account is not None:
                store.remove(account.id)

    def change_own_password(self, username: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Raises PermissionDenied for somebody else's (403)."""
        if username != self._caller.username:
            raise PermissionDenied
        password = fields.get("password")
        if not isinstance(password, str) or not password:
            raise BadRequest("missing password in the request")
        check_password(password, username, self._node.settings.PASSWORD_MINIMUM_LENGTH)
        hashed = Passwords.hash(password)
        with self._node.database.transaction() as session:
            store = UserStore(session)
            found = self._find(store, username)
            if self._caller.user_id is not None:
                store.set_password(self._caller.user_id, hashed)
            return wire(found)

    def reset_link(self, username: str) -> dict[str, Any]:
        """A token with which the user chooses a new password."""
        with self._node.database.transaction() as session:
            store = UserStore(session)
            self._find(store, username)
            account = store.account(username)
        if account is None:
            raise NotFound.of("User")
        token = ResetLinks(self._node.settings).make(username, account.password)
        return {"reset_password_token": token}

    def _find(self, store: UserStore, username: str) -> Row[Any]:
        row = None if "\0" in username else store.find(self._caller.channel, username)
        if row is None:
            raise NotFound.of("User")
        return row


class ResetService:
    """What the holder of a reset link may do, without any other credentials."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def verify(self, username: str, token: str) -> None:
        """Raises Unauthenticated: the token is not, or no longer, this user's (401)."""
        account = self._account(username)
        known = account.password if account is not None and account.active else None
        ResetLinks(self._node.settings).check(token, username, known)

    def set_password(self, username: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Choose a new password, which uses the token up.

        Raises:
            Unauthenticated: no valid token (401). Invalid: the password is missing or breaks a rule (400).
        """
        refused = Unauthenticated("must provide a valid token to set a new password")
        token, account = fields.get("token"), self._account(username)
        if not isinstance(token, str) or account is None or not account.active:
            raise refused
        try:
            ResetLinks(self._node.settings).check(token, username, account.password)
        except Unauthenticated:
            raise refused from None
        password = fields.get("password")
        if not isinstance(password, str) or not password:
            raise Invalid(["Missing password"])
        check_password(password, username, self._node.settings.PASSWORD_MINIMUM_LENGTH)
        hashed = Passwords.hash(password)
        with self._node.database.transaction() as session:
            store = UserStore(session)
            if not store.set_password(account.id, hashed, instead_of=account.password):
                raise refused
            found = store.find(account.channel, username) if account.channel else None
        if found is not None:
            return wire(found)
        return {"username": username, "channel": None, "role": None, "is_external_user": False}

    def _account(self, username: str) -> Row[Any] | None:
        if "\0" in username:
            return None
        with self._node.database.transaction() as session:
            return UserStore(session).account(username)


def _new_name(fields: dict[str, Any]) -> str:
    """Raises Invalid: missing, or no name (400)."""
    if "username" not in fields:
        raise Invalid({"username": ["This field is required."]})
    return checked_name(fields["username"])


def checked_name(name: Any) -> str:
    """A name that can stand in a path.

    Raises:
        Invalid: empty, too long, or with a slash, a space at an end or a control character (400).
    """
    if not isinstance(name, str):
        raise Invalid({"username": ["Not a valid string."]})
    if not name.strip():
        raise Invalid({"username": ["This field may not be blank."]})
    if len(name) > LONGEST_NAME:
        message = f"Ensure this field has no more than {LONGEST_NAME} characters."
        raise Invalid({"username": [message]})
    if name != name.strip() or not name.isprintable() or "/" in name or name in (".", ".."):
        raise Invalid({"username": ["Enter a valid username."]})
    return name
