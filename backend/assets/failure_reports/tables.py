"""Why tasks and builds failed, and the logs that this organization holds of them."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, Column
from sqlmodel import Field, SQLModel

from backend.kit.columns import moment


class FailureReport(SQLModel, table=True):
    """A report of the ledger; `asset_key` is a task's or a function's key. Internal errors have no log."""

    __tablename__: ClassVar[str] = "failure_report"

    asset_key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    asset_type: str = Field(max_length=64)  # FAILED_ASSET_…
    error_type: str = Field(max_length=64)  # ERROR_TYPE_…
    owner: str = Field(max_length=100)
    creation_date: datetime = moment()
    logs_address: str | None = Field(default=None, max_length=200)
    logs_checksum: str | None = Field(default=None, max_length=64)


class LogFile(SQLModel, table=True):
    """Where this organization keeps a log of its own: committed before the report is sent (rule 1)."""

    __tablename__: ClassVar[str] = "log_file"

    asset_key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    asset_type: str = Field(max_length=64)
    bucket: str = Field(max_length=100)  # in an object store
    file: str = Field(max_length=500)  # key in the storage
    checksum: str = Field(max_length=64)  # SHA-256 of the bytes
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    creation_date: datetime = moment()
