"""One ledger for the whole folder, a channel pair per test; tests that kill servers start their own."""

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg2
import pytest

from orchestrator.server import Server
from tests.integration.orchestrator.member import Member

MEMBERS = ["a", "b", "c"]


@pytest.fixture
def server(database_url: str) -> Iterator[Server]:
    running = Server(database_url, {"mychannel": MEMBERS, "yourchannel": ["a", "d"]})
    running.start()
    yield running
    running.stop()


@pytest.fixture
def a(server: Server) -> Iterator[Member]:
    """Organization a, registered in mychannel like b."""
    with ExitStack() as stack:
        stack.enter_context(Member(server.address, "b")).join()
        yield stack.enter_context(Member(server.address, "a")).join()


@pytest.fixture
def b(server: Server, a: Member) -> Iterator[Member]:
    with Member(server.address, "b") as member:
        yield member


@pytest.fixture
def database(database_url: str) -> Iterator["psycopg2.extensions.connection"]:
    """A look into the ledger's tables."""
    connection = psycopg2.connect(database_url)
    connection.autocommit = True
    yield connection
    connection.close()
