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
    said = _digest(settings, "incoming", name, secret)
    known = _known(session, core(IncomingOrganization), name)
    if known is not None and known.provisioned == said:
        return "unchanged"
    set_incoming(session, name, secret, said)
    return "created" if known is None else "changed"


def provision_outgoing(
    session: Session, settings: Settings, name: str, secret: str, url: str
) -> Outcome:
    """Call an organization with this secret; an empty `url` leaves its address as it is."""
    said = _digest(settings, "outgoing", name, secret, url)
    known = _known(session, core(OutgoingOrganization), name)
    if known is not None and known.provisioned == said:
        return "unchanged"
    set_outgoing(session, settings, name, secret, url or None, said)
    return "created" if known is None else "changed"


def _digest(settings: Settings, *said: str) -> str:
    message = "\0".join(said).encode()
    return hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).hexdigest()


def _known(session: Session, table: Table, organization: str) -> Row[tuple[str | None]] | None:
    query = select(table.c.provisioned).where(table.c.organization_id == organization)
    return session.connection().execute(query).one_or_none()
