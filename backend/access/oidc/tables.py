"""Which user is which subject of which provider (rest-api.md 21.3)."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from backend.kit.columns import moment, optional_moment


class UserOidcInfo(SQLModel, table=True):
    """A user that signs on at a provider; `valid_until` is when its access has to be confirmed anew."""

    __tablename__ = "user_oidc_info"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    user_id: int = Field(primary_key=True, foreign_key="user.id", ondelete="CASCADE")
    issuer: str = Field(max_length=500)
    subject: str = Field(max_length=255)
    valid_until: datetime = moment()
    refresh_token: str | None = None  # encrypted with a key derived from SECRET_KEY
    refreshing_until: datetime | None = optional_moment()  # one process at a time asks the provider
