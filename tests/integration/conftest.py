"""A real PostgreSQL for every test here: one server a session, one database a test."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from backend.kit.database import Database
from backend.kit.migrations import prepare

SERVER = "SUBSTRA_RAY_TEST_POSTGRES"  # an address of a running server, to use instead of our own


def _execute(server: str, statement: str) -> None:
    connection = psycopg2.connect(server + "/postgres")
    connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`postgresql://user:password@host:port` of a running server, without a database name."""
    given = os.environ.get(SERVER)
    if given:
        yield given.rstrip("/")
        return
    from network.postgres import temporary_server

    folder: Path = tmp_path_factory.mktemp("postgres")
    with temporary_server(folder) as url:
        yield url


@contextmanager
def new_database(server: str, template: str = "template1") -> Iterator[str]:
    """A database that is dropped on leaving, by default an empty one."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield f"{server}/{name}"
    finally:
        _execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """A new, empty database that is dropped after the test."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def _migrated(postgres: str) -> Iterator[str]:
    with new_database(postgres) as url:
        database = Database(url)
        prepare(database)
        database.dispose()
        yield url.rpartition("/")[2]


@pytest.fixture
def prepared_url(postgres: str, _migrated: str) -> Iterator[str]:
    """A new database with all tables of an organization: a copy of one that was migrated once."""
    with new_database(postgres, _migrated) as url:
        yield url
