"""One organization's parts, built from its settings and handed to everything that needs them."""

from dataclasses import dataclass
from typing import Self

from backend.access.oidc.provider import Provider
from backend.access.organizations.secrets import OutgoingSecrets, VerifiedSecrets
from backend.kit.database import Database
from backend.ports.exchange import Exchange
from backend.ports.ledger.client import Ledger
from backend.ports.storage import Storage, open_storage
from backend.settings import Settings


@dataclass(frozen=True, slots=True)
class Node:
    """What a process of this organization works with. Threads share it; `close` ends it."""

    settings: Settings
    database: Database
    ledger: Ledger
    storage: Storage
    exchange: Exchange
    provider: Provider  # of single sign-on
    verified: VerifiedSecrets  # of other organizations

    @classmethod
    def build(cls, settings: Settings, *, pool_size: int = 8) -> Self:
        """Open nothing yet: connections are made at the first use (but the media folders are created)."""
        database = Database(settings.database_url, size=pool_size)
        return cls(
            settings=settings,
            database=database,
            ledger=Ledger(settings),
            storage=open_storage(settings),
            exchange=Exchange(settings, OutgoingSecrets(settings, database)),
            provider=Provider(settings),
            verified=VerifiedSecrets(),
        )

    @property
    def own(self) -> str:
        """This organization's id."""
        return self.settings.MSP_ID

    def close(self) -> None:
        self.exchange.close()
        self.ledger.close()
        self.database.dispose()
