"""What clients send about tasks. Unknown members (`rank`) are ignored; what the ledger checks is left to it."""

from uuid import UUID

from pydantic import BaseModel, Field


class Permission(BaseModel):
    public: bool
    authorized_ids: list[str] = Field(default_factory=list)


class NewInput(BaseModel):
    """An asset, or an output of a parent task: the asset counts when both are given."""

    identifier: str
    asset_key: str | None = None
    parent_task_key: str | None = None
    parent_task_output_identifier: str | None = None


class NewOutput(BaseModel):
    permissions: Permission
    transient: bool | None = None


class NewTask(BaseModel):
    key: UUID
    compute_plan_key: UUID
    function_key: UUID
    worker: str | None = None
    tag: str | None = None
    metadata: dict[str, str] | None = None
    inputs: list[NewInput] | None = None
    outputs: dict[str, NewOutput] | None = None


class NewTasks(BaseModel):
    tasks: list[NewTask]
