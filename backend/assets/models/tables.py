"""Models of the channel, and the files of those that this organization trained."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index
from sqlmodel import Field, SQLModel

from backend.kit.columns import moment, texts


class Model(SQLModel, table=True):
    """A trained model; one without an address was transient and is disabled."""

    __tablename__: ClassVar[str] = "model"
    __table_args__ = (Index("model_list", "channel", "creation_date", "key"),)

    key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    compute_task_key: UUID = Field(index=True)
    owner: str = Field(max_length=100)
    creation_date: datetime = moment()
    model_address: str | None = Field(default=None, max_length=200)
    model_checksum: str | None = Field(default=None, max_length=64)
    permissions_process_public: bool
    permissions_process_authorized_ids: list[str] = texts()
    permissions_download_public: bool
    permissions_download_authorized_ids: list[str] = texts()


class ModelFile(SQLModel, table=True):
    """Where this organization keeps a model of its own: committed before the ledger hears of it (rule 3)."""

    __tablename__: ClassVar[str] = "model_file"

    key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    bucket: str = Field(max_length=100)  # in an object store
    file: str = Field(max_length=500)  # key in the storage
    checksum: str = Field(max_length=64)  # SHA-256 of the bytes and the ASCII task key
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    creation_date: datetime = moment()
