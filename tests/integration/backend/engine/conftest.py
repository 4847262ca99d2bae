"""The engine's parts on a real database with the whole schema."""

from collections.abc import Iterator

import pytest

from backend import tables
from backend.kit.database import Database
from backend.kit.migrations import prepare


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, size=8)
    prepare(database, tables.metadata)
    yield database
    database.dispose()
