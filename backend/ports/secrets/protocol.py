"""The secret store: keys that organizations agreed on outside of this network (compute.md 6)."""

from typing import Protocol


class SecretStore(Protocol):
    """Chainkeys by the tag of the compute plan that they are for. Every method may raise OSError: not now."""

    def chainkeys(self, tag: str) -> dict[str, bytes]:
        """The key that is shared with each other party, by its index; those that were erased are left out."""
        ...

    def erase(self, tag: str) -> None:
        """Overwrite them with nothing: the plan has them now. Done before is as good."""
        ...
