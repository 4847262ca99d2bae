"""Performances: one number an output of a task."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlmodel import Field, SQLModel

from backend.kit.columns import moment


class Performance(SQLModel, table=True):
    """`compute_plan_key` repeats the task's, so that a plan's performances are read by one index."""

    __tablename__: ClassVar[str] = "performance"

    compute_task_key: UUID = Field(primary_key=True)
    identifier: str = Field(primary_key=True, max_length=100)
    compute_plan_key: UUID = Field(index=True)
    channel: str = Field(max_length=100, index=True)
    value: float
    creation_date: datetime = moment()
