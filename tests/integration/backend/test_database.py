"""Which transactions wait for their flush, and how reads and transactions share a connection."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from sqlalchemy import text

from backend.kit.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Of one connection, so that each user has the one before's."""
    database = Database(database_url, size=1)
    yield database
    database.dispose()


@pytest.mark.parametrize(("durable", "setting"), [(True, "on"), (False, "off")])
def test_a_transaction_waits_for_its_flush_unless_it_can_be_replayed(
    prepared_url: str, durable: bool, setting: str
) -> None:
    database = Database(prepared_url, size=1)
    try:
        for _ in range(2):  # the second time on a connection that was used before
            with database.transaction(durable=durable) as session:
                shown = session.connection().execute(text("SHOW synchronous_commit")).scalar_one()
            assert shown == setting
        with database.transaction() as session:
            assert (
                session.connection().execute(text("SHOW synchronous_commit")).scalar_one() == "on"
            )
    finally:
        database.dispose()


def test_a_connection_that_read_last_still_rolls_back(database: Database) -> None:
    with database.reading() as connection:
        reader = connection.scalar(text("SELECT pg_backend_pid()"))
    with suppress(ZeroDivisionError), database.transaction() as session:
        writer = session.connection().scalar(text("SELECT pg_backend_pid()"))
        session.connection().execute(text("CREATE TABLE t (n int)"))
        raise ZeroDivisionError
    with database.reading() as connection:
        left = connection.scalar(text("SELECT to_regclass('t')"))
    assert (reader == writer, left) == (True, None)


def test_a_read_after_a_transaction_leaves_none_open(database: Database) -> None:
    with database.transaction() as session:
        session.connection().execute(text("SELECT 1"))
    with database.reading() as connection:
        connection.execute(text("SELECT 1"))
        driver = connection.connection.dbapi_connection
        assert driver is not None
        assert driver.info.transaction_status == TRANSACTION_STATUS_IDLE
