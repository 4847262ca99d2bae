"""What clients send about data samples (rest-api.md 10)."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

Keys = Annotated[list[UUID], Field(min_length=1, max_length=10_000)]


class NewLinks(BaseModel):
    """The body of `/data_sample/bulk_update/`."""

    data_manager_keys: Keys
    data_sample_keys: Keys
