"""Tokens: only a keyed digest of the secret is stored (rest-api.md 3.2)."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel


class ImplicitBearerToken(SQLModel, table=True):
    """Made by a log-in with a password; its expiry follows from `created` and the settings."""

    __tablename__ = "implicit_bearer_token"

    key: str = Field(primary_key=True, max_length=64)  # HMAC-SHA-256 of the secret
    id: UUID = Field(default_factory=uuid4, unique=True)
    user_id: int = Field(foreign_key="user.id", index=True, ondelete="CASCADE")
    created: datetime = Field(sa_type=DateTime(timezone=True), nullable=False)


class BearerToken(SQLModel, table=True):
    """Made by a user for a program, with a chosen expiry."""

    __tablename__ = "bearer_token"

    key: str = Field(primary_key=True, max_length=64)
    id: UUID = Field(default_factory=uuid4, unique=True)
    user_id: int = Field(foreign_key="user.id", index=True, ondelete="CASCADE")
    created: datetime = Field(sa_type=DateTime(timezone=True), nullable=False)
    note: str | None = None
    expires_at: datetime = Field(sa_type=DateTime(timezone=True), nullable=False)
