"""Data samples of all organizations, their data managers, and the files of our own (rest-api.md 21)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from backend.kit.columns import moment, optional_moment


class DataSample(SQLModel, table=True):
    __tablename__ = "data_sample"
    __table_args__ = (
        Index("data_sample_page", "channel", "creation_date", "key"),
        Index("data_sample_channel", "channel"),  # small: samples are counted by it
        Index(
            "data_sample_owner",
            *("channel", "owner", "key"),
            postgresql_include=["creation_date"],
        ),
    )

    key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    owner: str = Field(max_length=100)
    creation_date: datetime = moment()


class DataManagerSample(SQLModel, table=True):
    """Which samples belong to which data managers.

    No foreign keys: a link's two ends may arrive by events in either order. `sample_creation_date` repeats the
    sample's (null until the sample is known), so that one index gives the samples of a data manager in order.
    """

    __tablename__ = "data_manager_data_sample"
    __table_args__ = (
        Index(
            "data_manager_data_sample_list",
            "data_manager_key",
            "sample_creation_date",
            "data_sample_key",
        ),
    )

    data_sample_key: UUID = Field(primary_key=True)
    data_manager_key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    sample_creation_date: datetime | None = optional_moment()


class DataSampleFile(SQLModel, table=True):
    """Where the content of one of our own samples lies: an archive in the storage, or a folder (`path`)."""

    __tablename__ = "data_sample_file"

    key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    file: str | None = None  # storage key of the archive
    path: str | None = None  # absolute folder on the server's own volume
    checksum: str = Field(max_length=64)  # folder hash (rest-api.md 10.2)
    creation_date: datetime = moment()
