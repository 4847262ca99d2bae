"""The answer to a registration whose key is taken."""

from typing import Any
from uuid import UUID

from backend.kit.errors import Conflict


class AlreadyExists(Conflict):
    """409 with the key beside the ledger's text: the SDK then takes the asset as registered."""

    def __init__(self, detail: str, key: UUID) -> None:
        super().__init__(detail)
        self._key = key

    def body(self) -> Any:
        return {"detail": self.detail, "key": self._key}
