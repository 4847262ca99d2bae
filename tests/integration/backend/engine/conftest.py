"""The engine's parts on a real database with the whole schema, and a world with a real ledger."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from backend.kit.database import Database
from backend.kit.migrations import prepare
from tests.integration.backend.engine.world import World


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, size=8)
    prepare(database)
    yield database
    database.dispose()


@pytest.fixture
def ledger_url(postgres: str) -> Iterator[str]:
    """A database for the ledger, beside the organization's."""
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(postgres + "/postgres")
    connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
            try:
                yield f"{postgres}/{name}"
            finally:
                cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        connection.close()


@pytest.fixture
def world(database: Database, ledger_url: str, tmp_path: Path) -> Iterator[World]:
    """One organization with its bridge and scheduler running, and a ledger in this process."""
    world = World(database, ledger_url, tmp_path)
    world.start()
    yield world
    world.stop()
