"""What a request has to have in memory before it is decided.

Needs are gathered for a whole group of requests and loaded with few queries. Keys that cannot be keys are left
out: the rule then finds nothing under them, or has refused them already.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.state import Kind
from orchestrator.validation import is_key


@dataclass(slots=True)
class Needs:
    documents: dict[Kind, set[str]] = field(default_factory=dict)
    fresh: dict[Kind, set[str]] = field(default_factory=dict)
    """Keys about to be created: are they taken, in whatever channel?"""
    addresses: set[str] = field(default_factory=set)
    """Storage addresses about to be taken."""
    tasks: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)
    """Tasks whose children are asked for (they are loaded without their documents)."""
    links: set[str] = field(default_factory=set)
    """Tasks whose registered outputs are asked for."""
    builds: set[str] = field(default_factory=set)
    """Functions whose waiting and building tasks are asked for."""

    def document(self, kind: Kind, *keys: str) -> None:
        self.documents.setdefault(kind, set()).update(key for key in keys if is_key(key))

    def new(self, kind: Kind, *keys: str) -> None:
        self.fresh.setdefault(kind, set()).update(key for key in keys if is_key(key))

    def task(self, *keys: str) -> None:
        self.tasks.update(key for key in keys if is_key(key))

    def address(self, addresses: Iterable[str]) -> None:
        self.addresses.update(address for address in addresses if address and "\x00" not in address)

    def trust(self) -> None:
        """Do not ask whether what is about to be created is there already: storing it will tell."""
        self.fresh.clear()
        self.addresses.clear()
