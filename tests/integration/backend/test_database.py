"""Which transactions wait for their flush."""

import pytest
from sqlalchemy import text

from backend.kit.database import Database


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
