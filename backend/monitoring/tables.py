"""Counts of what leaves no row behind, summed over the processes of an organization."""

from typing import ClassVar

from sqlmodel import Field, SQLModel


class MetricCounter(SQLModel, table=True):
    """One time series: `labels` is JSON with sorted names, so that it can be a key."""

    __tablename__: ClassVar[str] = "metric_counter"

    name: str = Field(primary_key=True, max_length=100)
    labels: str = Field(primary_key=True, max_length=200)
    value: float = 0.0
