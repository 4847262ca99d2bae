"""How far the ledger's events were applied, and those that could not be."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import Column, DateTime, LargeBinary, Text, text
from sqlmodel import Field, SQLModel


class LastEvent(SQLModel, table=True):
    """The cursor of a channel: all events up to this one are in the rows. Empty before the first."""

    __tablename__: ClassVar[str] = "last_event"

    channel: str = Field(primary_key=True, max_length=100)
    event_id: str = Field(default="", max_length=36)


class ParkedEvent(SQLModel, table=True):
    """An event that raised when applied alone; kept whole, so that it can be applied after a repair."""

    __tablename__: ClassVar[str] = "parked_event"

    event_id: str = Field(primary_key=True, max_length=36)
    channel: str = Field(max_length=100, index=True)
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))  # the event's wire form
    error: str = Field(sa_type=Text)
    parked: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("now()"))
    )
