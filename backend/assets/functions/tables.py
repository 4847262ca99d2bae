"""Functions of all organizations, and the files of our own (rest-api.md 21)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel

from backend.kit.columns import metadata_document, moment, texts


class Function(SQLModel, table=True):
    __tablename__ = "function"
    __table_args__ = (Index("function_page", "channel", "creation_date", "key"),)

    key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    name: str = Field(max_length=100)
    owner: str = Field(max_length=100)
    creation_date: datetime = moment()
    metadata_: dict[str, str] = metadata_document()
    status: str = Field(max_length=64)
    description_address: str
    description_checksum: str = Field(max_length=64)
    archive_address: str
    archive_checksum: str = Field(max_length=64)
    image_address: str | None = None
    image_checksum: str | None = Field(default=None, max_length=64)
    permissions_download_public: bool
    permissions_download_authorized_ids: list[str] = texts()
    permissions_process_public: bool
    permissions_process_authorized_ids: list[str] = texts()


class FunctionInput(SQLModel, table=True):
    __tablename__ = "function_input"

    function_key: UUID = Field(primary_key=True, foreign_key="function.key", ondelete="CASCADE")
    identifier: str = Field(primary_key=True, max_length=100)
    channel: str = Field(max_length=100)
    kind: str = Field(max_length=64)
    optional: bool
    multiple: bool


class FunctionOutput(SQLModel, table=True):
    __tablename__ = "function_output"

    function_key: UUID = Field(primary_key=True, foreign_key="function.key", ondelete="CASCADE")
    identifier: str = Field(primary_key=True, max_length=100)
    channel: str = Field(max_length=100)
    kind: str = Field(max_length=64)
    multiple: bool


class FunctionProfilingStep(SQLModel, table=True):
    """Durations of a build, in microseconds; arrive by ledger events."""

    __tablename__ = "function_profiling_step"

    function_key: UUID = Field(primary_key=True, foreign_key="function.key", ondelete="CASCADE")
    step: str = Field(primary_key=True, max_length=100)
    channel: str = Field(max_length=100)
    duration: int = Field(sa_type=BigInteger)


class FunctionFile(SQLModel, table=True):
    """Stored files of one of our own functions; written before the ledger hears of it (rule 3)."""

    __tablename__ = "function_file"

    key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    archive_file: str  # storage keys
    archive_name: str = Field(max_length=255)
    archive_checksum: str = Field(max_length=64)
    description_file: str
    description_name: str = Field(max_length=255)
    description_checksum: str = Field(max_length=64)
    creation_date: datetime = moment()


class FunctionImage(SQLModel, table=True):
    """The built image of one of our own functions: its manifest in the image store (rule 43)."""

    __tablename__ = "function_image"

    function_key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    checksum: str = Field(max_length=64)  # SHA-256 of the manifest's bytes
    creation_date: datetime = moment()
