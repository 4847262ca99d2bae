"""Columns that many tables have."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, DateTime, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel


def core(model: type[SQLModel]) -> Table:
    """The Core table of a SQLModel class: `core(Function).c.key` in selects that make no objects."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def document() -> Any:
    """A JSON object that is never null: `{}` when nothing was given."""
    return Field(default_factory=dict, sa_column=Column(JSONB, nullable=False))


def metadata_document() -> Any:
    """The column `metadata`: its attribute has another name, for SQLAlchemy keeps `metadata` to itself."""
    return Field(default_factory=dict, sa_column=Column("metadata", JSONB, nullable=False))


def texts() -> Any:
    """`text[]`, never null."""
    return Field(default_factory=list, sa_column=Column(ARRAY(Text), nullable=False))


def moment() -> Any:
    """`timestamptz NOT NULL`."""
    return Field(sa_type=DateTime(timezone=True), nullable=False)


def optional_moment(*, index: bool = False) -> Any:
    """`timestamptz`, null until it happened."""
    default: datetime | None = None
    return Field(default=default, sa_type=DateTime(timezone=True), nullable=True, index=index)
