"""Accounts and secrets listed in a file: read, checked, and stored without deleting anything.

Two forms (deployment.md 2.4 and 5.6). A YAML or JSON document with the lists `users`, `incomingOrganizations`
and `outgoingOrganizations` of `name`, `secret` and, where it fits, `channel`, `role`, `url`; a user that moves
here may have a `passwordHash` of Django's or ours in place of the secret. Or a folder with the files `users`,
`incoming_organizations` and `outgoing_organizations` of lines "name secret" or "name secret channel", as the
chart's Secret is mounted. Messages name the entry, never its secret.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from sqlmodel import Session

from backend.access.organizations.provisioning import provision_incoming, provision_outgoing
from backend.access.provisioning import lock
from backend.access.users.passwords import Passwords
from backend.access.users.provisioning import provision_user
from backend.access.users.store import ROLES
from backend.settings import Settings, UserSettings

KINDS = {
    "users": "users",
    "incoming_organizations": "incomingOrganizations",
    "outgoing_organizations": "outgoingOrganizations",
}
HASH = "passwordHash"
LARGEST = 4 * 1024 * 1024


class AccountFileInvalid(Exception):
    """The message says which entry, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Accounts:
    users: list[tuple[UserSettings, str | None]] = field(default_factory=list)  # and a given hash
    incoming: list[tuple[str, str]] = field(default_factory=list)  # organization, secret
    outgoing: list[tuple[str, str, str]] = field(default_factory=list)  # and URL, may be empty


def read(path: Path, settings: Settings) -> Accounts:
    """The accounts that a file or a folder lists.

    Raises:
        AccountFileInvalid: it cannot be read, or an entry is wrong.
    """
    try:
        entries = _folder(path) if path.is_dir() else _document(path)
    except UnicodeDecodeError:
        raise AccountFileInvalid(f"{path}: not a text in UTF-8") from None
    except OSError as error:
        raise AccountFileInvalid(f"{path}: {error.strerror or type(error).__name__}") from None
    accounts = Accounts()
    for entry in entries["users"]:
        accounts.users.append(_user(entry, settings))
    for entry in entries["incoming_organizations"]:
        accounts.incoming.append((_organization(entry), entry["secret"]))
    for entry in entries["outgoing_organizations"]:
        accounts.outgoing.append((_organization(entry), entry["secret"], entry.get("url", "")))
    return accounts


def apply(session: Session, settings: Settings, accounts: Accounts) -> list[dict[str, str]]:
    """Make or change what is listed; answers `{"kind", "name", "outcome"}` for each entry."""
    lock(session)
    outcomes = [
        ("user", user.username, provision_user(session, settings, user, password_hash))
        for user, password_hash in accounts.users
    ]
    outcomes += [
        ("incoming", name, provision_incoming(session, settings, name, secret))
        for name, secret in accounts.incoming
    ]
    outcomes += [
        ("outgoing", name, provision_outgoing(session, settings, name, secret, url))
        for name, secret, url in accounts.outgoing
    ]
    return [{"kind": kind, "name": name, "outcome": outcome} for kind, name, outcome in outcomes]


def _document(path: Path) -> dict[str, list[dict[str, str]]]:
    if path.stat().st_size > LARGEST:
        raise AccountFileInvalid(f"{path}: larger than {LARGEST // 1024**2} MiB")
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError:
        raise AccountFileInvalid(f"{path}: neither YAML nor JSON") from None
    if not isinstance(content, dict):
        raise AccountFileInvalid(f"{path}: expected the lists {', '.join(KINDS.values())}")
    unknown = set(content) - set(KINDS) - set(KINDS.values())
    if unknown:
        raise AccountFileInvalid(f"{path}: unknown list {min(map(str, unknown))}")
    return {
        kind: [
            _checked(entry, f"{kind}[{number}]", or_hash=kind == "users")
            for number, entry in enumerate(content.get(kind) or content.get(spelling) or [])
        ]
        for kind, spelling in KINDS.items()
    }


def _folder(path: Path) -> dict[str, list[dict[str, str]]]:
    return {kind: _lines(path / kind, kind) for kind in KINDS}


def _lines(file: Path, kind: str) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    entries = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) not in (2, 3) or (len(words) == 3 and kind != "users"):
            raise AccountFileInvalid(f'{kind} line {number}: expected "name secret"')
        named = dict(zip(("name", "secret", "channel"), words, strict=False))
        entries.append(_checked(named, f"{kind} line {number}"))
    return entries


def _checked(entry: Any, where: str, *, or_hash: bool = False) -> dict[str, str]:
    """An entry whose values are all texts, with a name and a secret (or, when allowed, a hash of one)."""
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise AccountFileInvalid(f"{where}: expected a name and a secret, both texts")
    for needed in ("name", "secret"):
        given = entry.get(needed) or (entry.get(HASH) if or_hash and needed == "secret" else None)
        if not given:
            raise AccountFileInvalid(f"{where}: {needed} is missing")
    if any("\0" in value for value in entry.values()):
        raise AccountFileInvalid(f"{where}: a value holds a NUL")
    return entry


def _user(entry: dict[str, str], settings: Settings) -> tuple[UserSettings, str | None]:
    name, role, password_hash = entry["name"], entry.get("role", "ADMIN"), entry.get(HASH)
    if role not in ROLES:
        raise AccountFileInvalid(f"user {name}: the role is one of {', '.join(ROLES)}")
    if password_hash is not None and not Passwords.is_hash(password_hash):
        raise AccountFileInvalid(
            f"user {name}: {HASH} is neither Django's pbkdf2_sha256 nor argon2"
        )
    user = UserSettings(
        username=name,
        password=entry.get("secret", ""),
        channel=channel_of(entry.get("channel"), settings, name),
        role=role,
    )
    return user, password_hash


def channel_of(given: str | None, settings: Settings, username: str) -> str:
    """The channel of a new user: the only one when none is given.

    Raises:
        AccountFileInvalid: none given and several there, or one that there is not.
    """
    channels = sorted(settings.CHANNELS)
    if given is None and len(channels) == 1:
        return channels[0]
    if given not in settings.CHANNELS:
        raise AccountFileInvalid(f"user {username}: the channel is one of {', '.join(channels)}")
    return given


def _organization(entry: dict[str, str]) -> str:
    if len(entry["name"]) > 64:
        raise AccountFileInvalid(f"organization {entry['name'][:64]}…: more than 64 characters")
    return entry["name"]
