"""The engine's parts on a real database with the whole schema, and a world with a real ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from backend.app import create_app
from backend.kit.database import Database
from backend.node import Node
from backend.settings import PeerSettings, UserSettings
from tests.integration.backend.conftest import PASSWORD, serving
from tests.integration.backend.engine.world import CHANNEL, OTHER, World
from tests.integration.conftest import new_database


@pytest.fixture
def database(prepared_url: str) -> Iterator[Database]:
    database = Database(prepared_url, size=8)
    yield database
    database.dispose()


@pytest.fixture
def ledger_url(postgres: str) -> Iterator[str]:
    """A database for the ledger, beside the organization's."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture
def world(database: Database, ledger_url: str, tmp_path: Path) -> Iterator[World]:
    """One organization with its bridge and scheduler running, and a ledger in this process."""
    world = World(database, ledger_url, tmp_path)
    world.start()
    yield world
    world.stop()


@pytest.fixture
def api(world: World) -> Iterator[httpx.Client]:
    """The world's organization over HTTP, as its user of mychannel (an administrator)."""
    with served(world) as client:
        yield client


@contextmanager
def served(world: World, **changes: object) -> Iterator[httpx.Client]:
    """As above, with other settings."""
    user = UserSettings(username="org-1", password=PASSWORD, channel=CHANNEL)
    settings = world.settings.model_copy(
        update={
            "DATABASE_URL": world.database.url,
            "USERS": [user],
            "SUBPATH": "org-1",
            "PEERS": {
                OTHER: PeerSettings(url="http://127.0.0.1:9", outgoing="s12", incoming="s21")
            },
            **changes,
        }
    )
    node = Node.build(settings)
    try:
        with serving(create_app(settings, node)) as client:
            client.base_url = httpx.URL(f"{client.base_url}/org-1".replace("//org-1", "/org-1"))
            client.headers["Accept"] = "application/json;version=0.0"
            answer = client.post(
                "/api-token-auth/", data={"username": "org-1", "password": PASSWORD}
            )
            client.headers["Authorization"] = f"Token {answer.json()['token']}"
            yield client
    finally:
        node.close()
