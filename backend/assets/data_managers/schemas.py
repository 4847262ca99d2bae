"""What clients send about data managers (rest-api.md 9.2)."""

from pydantic import BaseModel

from backend.assets.functions.schemas import Name, NewName
from backend.assets.schemas import NewPermission


class NewDataManager(BaseModel):
    """The `json` part of an upload."""

    name: Name
    permissions: NewPermission
    logs_permission: NewPermission
    metadata: dict[str, str] | None = None


__all__ = ["NewDataManager", "NewName"]
