"""What clients send about functions (rest-api.md 8.2)."""

from typing import Annotated, Literal

from pydantic import BaseModel, StringConstraints

from backend.assets.schemas import NewPermission

Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Kind = Literal["ASSET_DATA_SAMPLE", "ASSET_DATA_MANAGER", "ASSET_MODEL", "ASSET_PERFORMANCE"]


class NewInput(BaseModel):
    kind: Kind
    multiple: bool = False
    optional: bool = False


class NewOutput(BaseModel):
    kind: Kind
    multiple: bool = False


class NewFunction(BaseModel):
    """The `json` part of an upload. Which kinds go together is the ledger's to judge."""

    name: Name
    permissions: NewPermission
    metadata: dict[str, str] | None = None
    inputs: dict[str, NewInput]
    outputs: dict[str, NewOutput]


class NewName(BaseModel):
    name: Name
