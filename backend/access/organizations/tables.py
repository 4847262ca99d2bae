"""Organizations as the ledger announced them (rest-api.md 21.1)."""

from datetime import datetime

from sqlalchemy import DateTime, UniqueConstraint
from sqlmodel import Field, SQLModel


class Organization(SQLModel, table=True):
    __tablename__ = "organization"
    __table_args__ = (UniqueConstraint("organization_id", "channel"),)

    id: int | None = Field(default=None, primary_key=True)
    channel: str = Field(max_length=100, index=True)
    organization_id: str = Field(max_length=64)
    address: str = Field(default="", max_length=200)
    creation_date: datetime = Field(sa_type=DateTime(timezone=True), nullable=False)
