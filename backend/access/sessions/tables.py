"""Refresh tokens that were given out, and which of them are spent (rest-api.md 21.3)."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from backend.kit.columns import moment, optional_moment


class RefreshToken(SQLModel, table=True):
    """One refresh token. Kept until it expires, so that a spent one is told from one never given."""

    __tablename__ = "refresh_token"

    jti: str = Field(primary_key=True, max_length=32)  # names the token; its signature is nowhere
    user_id: int = Field(foreign_key="user.id", index=True, ondelete="CASCADE")
    expires_at: datetime = moment()
    blacklisted_at: datetime | None = optional_moment()
