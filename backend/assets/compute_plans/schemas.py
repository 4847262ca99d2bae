"""What clients send about compute plans. Unknown members are ignored: the SDK sends its whole specification."""

from uuid import UUID

from pydantic import BaseModel


class NewComputePlan(BaseModel):
    """Lengths are the ledger's to judge."""

    key: UUID
    name: str
    tag: str | None = None
    metadata: dict[str, str] | None = None


class NewName(BaseModel):
    name: str
