"""Compute plans as this organization sees them.

The status, its dates and the counts of tasks are derived from the tasks, but kept: every change of a task adds
its difference under the lock of the plan's row (`events.settle`), so that neither an event nor a list of plans
ever counts ten thousand tasks.
"""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from backend.kit.columns import metadata_document, moment, optional_moment


class ComputePlan(SQLModel, table=True):
    __tablename__: ClassVar[str] = "compute_plan"
    __table_args__ = (
        Index("compute_plan_list", "channel", "creation_date", "key"),
        Index("compute_plan_status", "channel", "status"),
    )

    key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    owner: str = Field(max_length=100)
    name: str = Field(max_length=100)
    tag: str = Field(max_length=100)
    status: str = Field(max_length=64)
    creation_date: datetime = moment()
    cancelation_date: datetime | None = optional_moment()
    start_date: datetime | None = optional_moment()
    end_date: datetime | None = optional_moment()
    last_task_end_date: datetime | None = optional_moment()
    failed_task_key: UUID | None = None
    metadata_: dict[str, str] = metadata_document()
    waiting_builder_slot_count: int = 0
    building_count: int = 0
    waiting_parent_tasks_count: int = 0
    waiting_executor_slot_count: int = 0
    executing_count: int = 0
    done_count: int = 0
    canceled_count: int = 0
    failed_count: int = 0


class ComputePlanCreator(SQLModel, table=True):
    """Who created a plan through this server; written before the ledger hears of the plan (rule 3).

    A plan without a row here was created elsewhere (`external`); one whose user is gone shows `deleted`. User
    ids are never given twice, so no foreign key is needed to tell the two apart.
    """

    __tablename__: ClassVar[str] = "compute_plan_creator"

    compute_plan_key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    user_id: int = Field(index=True)
