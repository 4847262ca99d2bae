"""Where the time of the tasks went that this organization executed. Durations are microseconds.

The steps of function builds belong to the functions.
"""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index
from sqlmodel import Field, SQLModel

from backend.kit.columns import moment


class TaskProfiling(SQLModel, table=True):
    """`creation_date` is when the clock started."""

    __tablename__: ClassVar[str] = "task_profiling"
    __table_args__ = (Index("task_profiling_list", "channel", "creation_date", "compute_task_key"),)

    compute_task_key: UUID = Field(primary_key=True)
    channel: str = Field(max_length=100)
    creation_date: datetime = moment()


class ProfilingStep(SQLModel, table=True):
    __tablename__: ClassVar[str] = "profiling_step"

    compute_task_key: UUID = Field(primary_key=True)
    step: str = Field(primary_key=True, max_length=100)
    duration: int = Field(sa_column=Column(BigInteger, nullable=False))
