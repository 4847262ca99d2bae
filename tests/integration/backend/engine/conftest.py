"""The engine's parts on a real database with the whole schema, and a world with a real ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.kit.database import Database
from tests.integration.backend.engine.world import World
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
