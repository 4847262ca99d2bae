"""Secrets of both directions between organizations (rest-api.md 19): rows, checks and their use."""

import hashlib
import hmac
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_bytes
from threading import Lock
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session

from backend.access.encryption import Cipher, Undecryptable
from backend.access.organizations.tables import (
    IncomingOrganization,
    Organization,
    OutgoingOrganization,
)
from backend.access.users.passwords import Passwords
from backend.kit.clock import utc_now
from backend.kit.columns import core
from backend.kit.database import Database
from backend.settings import PeerSettings, Settings

_INCOMING, _OUTGOING = core(IncomingOrganization), core(OutgoingOrganization)
_ORGANIZATIONS = core(Organization)
PURPOSE = "outgoing organizations"


class VerifiedSecrets:
    """Secrets that were verified before, as digests keyed by this process: argon2 is asked once a secret.

    An entry holds only for the very hash that is stored, so that a changed secret counts at once.
    """

    def __init__(self, most: int = 256) -> None:
        self._key = token_bytes(32)
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._most = most
        self._lock = Lock()

    def _digest(self, secret: str) -> bytes:
        return hmac.new(self._key, secret.encode(errors="surrogatepass"), hashlib.sha256).digest()

    def knows(self, secret: str, secret_hash: str) -> bool:
        with self._lock:
            known = self._known.get(secret_hash, b"")
        return hmac.compare_digest(known, self._digest(secret))

    def check(self, secret: str, secret_hash: str) -> bool:
        """Whether this is the secret, asking argon2 when it was not right before."""
        if self.knows(secret, secret_hash):
            return True
        if not Passwords.verify(secret, secret_hash):
            return False
        self._remember(secret, secret_hash)
        return True

    def _remember(self, secret: str, secret_hash: str) -> None:
        with self._lock:
            self._known[secret_hash] = self._digest(secret)
            while len(self._known) > self._most:
                self._known.popitem(last=False)


def incoming_hash(database: Database, organization: str) -> str | None:
    """The hash of the secret by which an organization calls us; None when there is none."""
    if "\0" in organization:
        return None
    query = select(_INCOMING.c.secret_hash).where(_INCOMING.c.organization_id == organization)
    with database.reading() as connection:
        return connection.execute(query).scalar_one_or_none()


def set_incoming(
    session: Session, organization: str, secret: str, provisioned: str | None = None
) -> None:
    """Make this the secret by which an organization calls us.

    `provisioned`: the digest of what the settings say; None for a change by hand, which their next start keeps.
    """
    values = {
        "secret_hash": Passwords.hash(secret),
        "provisioned": provisioned,
        "changed": utc_now(),
    }
    query = insert(_INCOMING).values(organization_id=organization, **values)
    kept = {"provisioned": func.coalesce(query.excluded.provisioned, _INCOMING.c.provisioned)}
    query = query.on_conflict_do_update(index_elements=["organization_id"], set_={**values, **kept})
    session.connection().execute(query)


def set_outgoing(
    session: Session,
    settings: Settings,
    organization: str,
    secret: str,
    url: str | None,
    provisioned: str | None = None,
) -> None:
    """Make this the secret with which we call an organization.

    Without a `url` it is called where it was before: there, or at its registered address. `provisioned` as for
    `set_incoming`.
    """
    values = {
        "url": url,
        "secret": Cipher(settings, PURPOSE).encrypt(secret),
        "provisioned": provisioned,
        "changed": utc_now(),
    }
    query = insert(_OUTGOING).values(organization_id=organization, **values)
    kept = {
        "url": func.coalesce(query.excluded.url, _OUTGOING.c.url),
        "provisioned": func.coalesce(query.excluded.provisioned, _OUTGOING.c.provisioned),
    }
    query = query.on_conflict_do_update(index_elements=["organization_id"], set_={**values, **kept})
    session.connection().execute(query)


def encrypt_anew(session: Session, settings: Settings) -> int:
    """Outgoing secrets under the present SECRET_KEY, so that the previous one may go; how many there are.

    What neither key opens stays as it is: it has to be set again.
    """
    cipher, renewed = Cipher(settings, PURPOSE), 0
    query = select(_OUTGOING.c.organization_id, _OUTGOING.c.secret)
    rows = session.connection().execute(query.order_by(_OUTGOING.c.organization_id)).all()
    for organization, secret in rows:
        with suppress(Undecryptable):
            changed = _OUTGOING.update().where(_OUTGOING.c.organization_id == organization)
            session.connection().execute(changed.values(secret=cipher.renewed(secret)))
            renewed += 1
    return renewed


def all_organizations(session: Session) -> list[dict[str, Any]]:
    """`{"organization", "channels", "incoming", "outgoing", "url"}` of whoever is known, by id."""
    connection = session.connection()
    members = select(_ORGANIZATIONS.c.organization_id, _ORGANIZATIONS.c.channel)
    found: dict[str, dict[str, Any]] = {}

    def entry(name: str) -> dict[str, Any]:
        blank = {"channels": [], "incoming": False, "outgoing": False, "url": None}
        return found.setdefault(name, {"organization": name, **blank})

    for name, channel in connection.execute(members.order_by(_ORGANIZATIONS.c.channel)):
        entry(name)["channels"].append(channel)
    for name in connection.execute(select(_INCOMING.c.organization_id)).scalars():
        entry(name)["incoming"] = True
    for name, url in connection.execute(select(_OUTGOING.c.organization_id, _OUTGOING.c.url)):
        entry(name).update(outgoing=True, url=url)
    return [found[name] for name in sorted(found)]


@dataclass(frozen=True, slots=True)
class OutgoingSecrets:
    """Where and with which secret another organization is called; the exchange's source."""

    settings: Settings
    database: Database

    def __call__(self, organization: str, channel: str) -> PeerSettings | None:
        """None when no secret is set, or it cannot be decrypted, or no address is known (rule 27)."""
        query = select(_OUTGOING.c.url, _OUTGOING.c.secret)
        query = query.where(_OUTGOING.c.organization_id == organization)
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            url = row.url or connection.execute(_registered(organization, channel)).scalar()
        try:
            secret = Cipher(self.settings, PURPOSE).decrypt(row.secret)
        except Undecryptable:
            return None
        return PeerSettings(url=url, outgoing=secret, incoming="") if url else None


def _registered(organization: str, channel: str) -> Select[Any]:
    """The address that an organization registered on a channel; empty ones count as none."""
    columns = _ORGANIZATIONS.c
    return select(columns.address).where(
        columns.organization_id == organization, columns.channel == channel
    )
