"""Data managers (datasets) of all organizations, and the files of our own (rest-api.md 21)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from backend.kit.columns import metadata_document, moment, texts


class DataManager(SQLModel, table=True):
    __tablename__ = "data_manager"
    __table_args__ = (Index("data_manager_page", "channel", "creation_date", "key"),)

    key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    name: str = Field(max_length=100)
    owner: str = Field(max_length=100)
    creation_date: datetime = moment()
    metadata_: dict[str, str] = metadata_document()
    description_address: str
    description_checksum: str = Field(max_length=64)
    opener_address: str
    opener_checksum: str = Field(max_length=64)
    permissions_download_public: bool
    permissions_download_authorized_ids: list[str] = texts()
    permissions_process_public: bool
    permissions_process_authorized_ids: list[str] = texts()
    logs_permission_public: bool
    logs_permission_authorized_ids: list[str] = texts()


class DataManagerFile(SQLModel, table=True):
    """Stored files of one of our own data managers; written before the ledger hears of it (rule 3)."""

    __tablename__ = "data_manager_file"

    key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    name: str = Field(max_length=100)
    opener_file: str  # storage keys
    opener_name: str = Field(max_length=255)
    opener_checksum: str = Field(max_length=64)
    description_file: str
    description_name: str = Field(max_length=255)
    description_checksum: str = Field(max_length=64)
    creation_date: datetime = moment()
