"""A ledger that has lived, once for all tests of this folder; each test gets a copy of its database."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from orchestrator.server import Server
from tests.integration.conftest import new_database
from tests.integration.orchestrator.maintenance.life import Life
from tests.integration.orchestrator.member import Member

CHANNELS = {"mychannel": ["a", "b"], "yourchannel": ["a"]}
DEEDS = 2_500


@pytest.fixture(scope="session")
def lived(postgres: str) -> Iterator[tuple[str, Life]]:
    """Name of the database, and what was done there."""
    with new_database(postgres) as url:
        server = Server(url, CHANNELS)
        server.start()
        with ExitStack() as stack:
            a, b = (stack.enter_context(Member(server.address, name)) for name in "ab")
            life = Life([a.join(), b.join()], seed=7)
            life.live(DEEDS)
            with Member(server.address, "a", "yourchannel") as other:
                Life([other.join()], seed=8).live(DEEDS // 10)
        server.stop()
        yield url.rpartition("/")[2], life


@pytest.fixture
def url(postgres: str, lived: tuple[str, Life]) -> Iterator[str]:
    """A copy of the database, with no server on it."""
    with new_database(postgres, lived[0]) as copy:
        yield copy
