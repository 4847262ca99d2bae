"""Recent requests of strangers; lost with a crash of PostgreSQL, and nobody misses them."""

from sqlalchemy import Column, Float
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel


class ThrottleBucket(SQLModel, table=True):
    __tablename__ = "throttle_bucket"
    __table_args__ = {"prefixes": ["UNLOGGED"]}

    bucket: str = Field(primary_key=True, max_length=16)
    client: str = Field(primary_key=True, max_length=64)  # digest of the client's address
    moments: list[float] = Field(sa_column=Column(ARRAY(Float), nullable=False))  # epoch seconds
