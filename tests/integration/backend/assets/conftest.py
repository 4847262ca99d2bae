"""A database with all tables, and a way to tell it a story."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from backend import tables
from backend.assets.apply import Applied, apply_events
from backend.kit.database import Database
from protos.orchestrator import event_pb2

Tell = Callable[..., Applied]


@pytest.fixture
def database(prepared_url: str) -> Iterator[Database]:
    built = Database(prepared_url, size=4)
    yield built
    built.dispose()


@pytest.fixture
def tell(database: Database) -> Tell:
    """Apply events of one channel in one transaction."""

    def told(events: list[event_pb2.Event], channel: str = "mychannel") -> Applied:
        with database.transaction() as session:
            return apply_events(session, channel, events)

    return told


KEPT_BY_OTHERS = {"work_clock"}  # a row that a migration makes and no event touches


def contents(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table that events fill, without what only counts insertions."""
    found = {}
    with database.transaction() as session:
        for table in tables.metadata.sorted_tables:
            if table.name in KEPT_BY_OTHERS:
                continue
            columns = ", ".join(
                f'CAST("{c.name}" AS text)' for c in table.columns if c.name != "position"
            )
            rows = session.connection().execute(text(f'SELECT {columns} FROM "{table.name}"'))
            found[table.name] = sorted(tuple(row) for row in rows)
    return found
