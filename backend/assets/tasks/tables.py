"""Compute tasks, their inputs and what their outputs became.

The inputs, outputs and metadata of a task never change, so the task's row keeps them in their wire form: a list
of tasks is read without a join. `compute_task_input` and `compute_task_metadata` repeat them as rows for what
has to be searched: children of a task, tasks of an asset, tasks of a round. Which assets an input stands for is
not stored: it follows from the output assets of the parent, however many and whenever they come.
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, Column, Identity, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from backend.kit.columns import document, metadata_document, moment, optional_moment, texts

LONGEST_METADATA = 100


class ComputeTask(SQLModel, table=True):
    """Lists of a channel read an index in their order; what no order and no single column gives (a duration, a
    part of a key, several filters at once) is found in `compute_task_search`, a tenth of the table.
    """

    __tablename__: ClassVar[str] = "compute_task"
    __table_args__ = (
        Index("compute_task_list", "channel", "creation_date", "key"),
        Index("compute_task_status", "channel", "status", "key"),
        Index("compute_task_rank", "channel", "rank", "key"),
        Index("compute_task_tag", "channel", "tag", "key"),
        Index("compute_task_start", "channel", "start_date", "key"),
        Index("compute_task_end", "channel", "end_date", "key"),
        Index(
            "compute_task_search",
            *("channel", "owner", "key"),
            postgresql_include=[
                *("worker", "tag", "rank", "status", "function_key", "compute_plan_key"),
                *("creation_date", "start_date", "end_date"),
            ],
        ),
        Index("compute_task_plan_list", "compute_plan_key", "creation_date", "key"),
        Index("compute_task_plan_rank", "compute_plan_key", "rank"),
        Index("compute_task_plan_status", "compute_plan_key", "status"),
        Index("compute_task_plan_function", "compute_plan_key", "function_key"),
        Index("compute_task_function", "function_key"),
    )

    key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    function_key: UUID
    compute_plan_key: UUID
    owner: str = Field(max_length=100)
    worker: str = Field(max_length=100)
    rank: int
    status: str = Field(max_length=64)
    creation_date: datetime = moment()
    start_date: datetime | None = optional_moment()
    end_date: datetime | None = optional_moment()
    error_type: str | None = Field(default=None, max_length=64)
    tag: str = Field(max_length=100)
    metadata_: dict[str, str] = metadata_document()
    logs_permission_public: bool
    logs_permission_authorized_ids: list[str] = texts()
    logs_address: str | None = Field(default=None, max_length=200)
    logs_checksum: str | None = Field(default=None, max_length=64)
    logs_owner: str | None = Field(default=None, max_length=100)
    inputs: list[dict[str, Any]] = document()
    outputs: dict[str, Any] = document()


class ComputeTaskInput(SQLModel, table=True):
    """One input of a task: an asset, or an output of another task. `position` is the order of registration."""

    __tablename__: ClassVar[str] = "compute_task_input"
    __table_args__ = (
        Index(
            "compute_task_input_parent",
            "parent_task_key",
            "parent_task_output_identifier",
            postgresql_where=text("parent_task_key IS NOT NULL"),
        ),
        Index(
            "compute_task_input_asset_key",
            "asset_key",
            postgresql_where=text("asset_key IS NOT NULL"),
        ),
    )

    task_key: UUID = Field(primary_key=True)
    position: int = Field(primary_key=True)
    channel: str = Field(max_length=100)
    identifier: str = Field(max_length=100)
    asset_key: UUID | None = None
    parent_task_key: UUID | None = None
    parent_task_output_identifier: str | None = Field(default=None, max_length=100)


class ComputeTaskMetadata(SQLModel, table=True):
    """One entry of a task's metadata, for who searches it: the task's row keeps them all as they are shown.

    They never change, so no change of a task's status touches an index on them. The ledger allows
    `LONGEST_METADATA` characters.
    """

    __tablename__: ClassVar[str] = "compute_task_metadata"
    __table_args__ = (
        Index("compute_task_metadata_search", "channel", "name", "value", "task_key"),
    )

    task_key: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True, max_length=LONGEST_METADATA)
    channel: str = Field(max_length=100)
    value: str = Field(max_length=LONGEST_METADATA)


class ComputeTaskOutputAsset(SQLModel, table=True):
    """One asset that an output became. `position` follows the order of the ledger's stream.

    The key of a performance is `<task key>|<output identifier>`.
    """

    __tablename__: ClassVar[str] = "compute_task_output_asset"
    __table_args__ = (UniqueConstraint("asset_key", name="compute_task_output_asset_asset"),)

    task_key: UUID = Field(primary_key=True)
    identifier: str = Field(primary_key=True, max_length=100)
    asset_key: str = Field(primary_key=True, max_length=150)
    position: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False)
    )
    asset_kind: str = Field(max_length=64)
    channel: str = Field(max_length=100)
