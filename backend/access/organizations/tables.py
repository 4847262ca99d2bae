"""Organizations as the ledger announced them (rest-api.md 21.1), and the secrets shared with them (19)."""

from datetime import datetime

from sqlalchemy import DateTime, UniqueConstraint
from sqlmodel import Field, SQLModel

from backend.kit.columns import moment


class Organization(SQLModel, table=True):
    __tablename__ = "organization"
    __table_args__ = (UniqueConstraint("organization_id", "channel"),)

    id: int | None = Field(default=None, primary_key=True)
    channel: str = Field(max_length=100, index=True)
    organization_id: str = Field(max_length=64)
    address: str = Field(default="", max_length=200)
    creation_date: datetime = Field(sa_type=DateTime(timezone=True), nullable=False)


class IncomingOrganization(SQLModel, table=True):
    """Who may call us, by a secret of which only a hash is kept.

    `provisioned` is a keyed digest of what the settings or an account file said: what was changed by hand stays
    until they say something new.
    """

    __tablename__ = "incoming_organization"

    organization_id: str = Field(primary_key=True, max_length=64)
    secret_hash: str = Field(max_length=255)
    provisioned: str | None = Field(default=None, max_length=64)
    changed: datetime = moment()


class OutgoingOrganization(SQLModel, table=True):
    """Whom we call, with a secret encrypted by a key derived from SECRET_KEY."""

    __tablename__ = "outgoing_organization"

    organization_id: str = Field(primary_key=True, max_length=64)
    url: str | None = Field(default=None, max_length=200)  # None: as registered on the ledger
    secret: str
    provisioned: str | None = Field(default=None, max_length=64)
    changed: datetime = moment()
