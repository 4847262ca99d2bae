"""Secrets that the settings name for other organizations, stored at every start.

One that was changed by hand stays until the settings say something new; what they do not name is left alone.
"""

import hashlib
import hmac

from sqlalchemy import Table, select
from sqlmodel import Session

from backend.access.organizations.secrets import set_incoming, set_outgoing
from backend.access.organizations.tables import IncomingOrganization, OutgoingOrganization
from backend.kit.columns import core
from backend.settings import PeerSettings, Settings


def provision_peer(session: Session, settings: Settings, name: str, peer: PeerSettings) -> bool:
    """Store both secrets of one organization where they are new; whether anything changed."""
    changed = False
    if peer.incoming:
        said = _digest(settings, "incoming", name, peer.incoming)
        if said != _provisioned(session, core(IncomingOrganization), name):
            set_incoming(session, name, peer.incoming, said)
            changed = True
    if peer.outgoing:
        said = _digest(settings, "outgoing", name, peer.outgoing, peer.url)
        if said != _provisioned(session, core(OutgoingOrganization), name):
            set_outgoing(session, settings, name, peer.outgoing, peer.url or None, said)
            changed = True
    return changed


def _digest(settings: Settings, *said: str) -> str:
    message = "\0".join(said).encode()
    return hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).hexdigest()


def _provisioned(session: Session, table: Table, organization: str) -> str | None:
    query = select(table.c.provisioned).where(table.c.organization_id == organization)
    found: str | None = session.connection().execute(query).scalar_one_or_none()
    return found
