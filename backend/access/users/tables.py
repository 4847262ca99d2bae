"""Accounts (rest-api.md 21.3)."""

from datetime import datetime

from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel

from backend.kit.clock import utc_now
from backend.kit.columns import optional_moment

EXTERNAL = "external"  # shown as the creator of other organizations' plans
DELETED = "deleted"  # takes over the plans of a removed user


class User(SQLModel, table=True):
    """A person's account. `provisioned` is a keyed digest of what the settings file said (never a password)."""

    __tablename__ = "user"

    id: int | None = Field(default=None, primary_key=True)
    username: str = Field(max_length=150, unique=True)
    password: str = Field(
        default="", max_length=255
    )  # argon2 or Django hash; empty: no log-in by password
    email: str = Field(default="", max_length=254)
    active: bool = True
    provisioned: str | None = Field(default=None, max_length=64)
    password_changed: datetime | None = optional_moment()  # sessions begun earlier have ended
    date_joined: datetime = Field(
        default_factory=utc_now, sa_type=DateTime(timezone=True), nullable=False
    )


class UserChannel(SQLModel, table=True):
    """The one channel of a user, and the role there."""

    __tablename__ = "user_channel"

    user_id: int = Field(primary_key=True, foreign_key="user.id", ondelete="CASCADE")
    channel_name: str = Field(max_length=100, index=True)
    role: str = Field(max_length=16)
