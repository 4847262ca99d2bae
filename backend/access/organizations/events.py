"""What the ledger's organization events do to the rows."""

from datetime import UTC

from sqlalchemy.dialects.postgresql import insert as upsert
from sqlmodel import Session

from backend.access.organizations.tables import Organization
from backend.kit.columns import core
from protos.orchestrator import event_pb2, organization_pb2

_ORGANIZATIONS = core(Organization)


def store(session: Session, channel: str, organization: organization_pb2.Organization) -> None:
    """Insert the row of a member, or correct its address; twice is as good as once."""
    address = organization.address[:200]
    values = {
        "channel": channel,
        "organization_id": organization.id,
        "address": address,
        "creation_date": organization.creation_date.ToDatetime(UTC),
    }
    query = upsert(_ORGANIZATIONS).values(**values)
    query = query.on_conflict_do_update(
        index_elements=["organization_id", "channel"], set_={"address": address}
    )
    session.connection().execute(query)


def apply(session: Session, event: event_pb2.Event) -> None:
    """An organization was created (the only event of its kind)."""
    store(session, event.channel, event.organization)
