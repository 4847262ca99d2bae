"""Secrets that the settings or an account file name for other organizations.

One that was changed by hand stays until they say something new; what they do not name is left alone.
"""

import hashlib
import hmac

from sqlalchemy import Row, Table, select
from sqlmodel import Session

from backend.access.organizations.secrets import set_incoming, set_outgoing
from backend.access.organizations.tables import IncomingOrganization, OutgoingOrganization
from backend.access.users.provisioning import Outcome
from backend.kit.columns import core
from backend.settings import Settings


def provision_incoming(session: Session, settings: Settings, name: str, secret: str) -> Outcome:
    """Let an organization call us with this secret."""
    said, *before = _digests(settings, "incoming", name, secret)
    known = _known(session, core(IncomingOrganization), name)
    if known is not None and known.provisioned in (said, *before):
        _note(session, core(IncomingOrganization), name, said)
        return "unchanged"
    set_incoming(session, name, secret, said)
    return "created" if known is None else "changed"


def provision_outgoing(
    session: Session, settings: Settings, name: str, secret: str, url: str
) -> Outcome:
    """Call an organization with this secret; an empty `url` leaves its address as it is."""
    said, *before = _digests(settings, "outgoing", name, secret, url)
    known = _known(session, core(OutgoingOrganization), name)
    if known is not None and known.provisioned in (said, *before):
        _note(session, core(OutgoingOrganization), name, said)
        return "unchanged"
    set_outgoing(session, settings, name, secret, url or None, said)
    return "created" if known is None else "changed"


def _digests(settings: Settings, *said: str) -> list[str]:
    """Of what was said, under the present key and under the one before."""
    message = "\0".join(said).encode()
    return [
        hmac.new(key.encode(), message, hashlib.sha256).hexdigest() for key in settings.secret_keys
    ]


def _note(session: Session, table: Table, organization: str, said: str) -> None:
    """Remember it under the present key; what was changed by hand stays."""
    query = table.update().where(table.c.organization_id == organization)
    session.connection().execute(query.where(table.c.provisioned != said).values(provisioned=said))


def _known(session: Session, table: Table, organization: str) -> Row[tuple[str | None]] | None:
    query = select(table.c.provisioned).where(table.c.organization_id == organization)
    return session.connection().execute(query).one_or_none()
