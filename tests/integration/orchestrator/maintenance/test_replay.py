"""The events alone rebuild the tables; a row or event that does not fit is named."""

import re
from collections.abc import Iterator

import psycopg2
import pytest
from typer.testing import CliRunner

from cli.main import app
from orchestrator.commands import COMMANDS
from orchestrator.maintenance.replay import replay
from orchestrator.maintenance.tables import EVERY
from tests.integration.orchestrator.maintenance.life import Life

Cursor = psycopg2.extensions.cursor
NOT_IN_A_LIFE = {"ModelService/RegisterModel", "OrganizationService/RegisterOrganization"}


@pytest.fixture
def cursor(url: str) -> Iterator[Cursor]:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as made:
        yield made
    connection.close()


def test_a_long_random_life_is_rebuilt_from_its_events(url: str, lived: tuple[str, Life]) -> None:
    report = replay(url)
    assert report.differences == []
    assert report.events == sum(report.channels.values()) > 1_000
    assert report.rows > 1_000
    # The life was worth the name: everything that can happen has happened.
    assert set(lived[1].done) == set(COMMANDS) - NOT_IN_A_LIFE


def test_every_table_is_compared(cursor: Cursor) -> None:
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {name for (name,) in cursor.fetchall()} == {*EVERY, "alembic_version"}
    for table in EVERY:
        cursor.execute(f"SELECT count(*) FROM {table}")
        assert cursor.fetchone() != (0,), f"{table} is empty: the life leaves something out"


BREAKS = [
    ("UPDATE compute_task SET status = 4 WHERE status = 3", "compute_task .*: status is 4, by"),
    ("UPDATE compute_task SET has_disabled = NOT has_disabled", "compute_task .*: has_disabled is"),
    ("UPDATE compute_plan SET owner = 'x'", "compute_plan .*: owner is x, by its events a"),
    ("DELETE FROM model", "model .*: has no row"),
    ("DELETE FROM task_parent", "task_parent .*: has no row"),
    ("DELETE FROM data_sample_manager", "data_sample_manager .*: has no row"),
    ("INSERT INTO storage_address VALUES ('http://x')", "storage_address http://x: no event"),
    ("UPDATE output_asset SET kind = 9 WHERE kind = 8", "output_asset .*: kind is 9, by"),
    ("UPDATE channel_head SET position = position + 1", "the channel's position says"),
    ("DELETE FROM event WHERE position = 5", "event 6 follows event 4"),
    ("DELETE FROM event WHERE asset_kind = 6 AND event_kind = 1", "moves before it is there"),
    ("UPDATE event SET status = 4 WHERE event_kind = 2 AND status = 3", "goes from STATUS_"),
    ("UPDATE event SET status = 1 WHERE event_kind = 1 AND status = 7", "begins as STATUS_WAITING"),
    (
        "UPDATE organization SET document = document || '\\x1a0178'::bytea",
        "organization .* a: its document differs from its events in address",
    ),
]


@pytest.mark.parametrize(("statement", "line"), BREAKS)
def test_what_does_not_fit_is_named(url: str, cursor: Cursor, statement: str, line: str) -> None:
    cursor.execute(statement)
    assert cursor.rowcount > 0
    assert re.search(line, "\n".join(replay(url).differences))


def test_a_database_without_a_ledger_is_refused(database_url: str) -> None:
    with pytest.raises(psycopg2.errors.UndefinedTable):
        replay(database_url)


def test_the_command_prints_the_differences_and_exits_with_one(url: str, cursor: Cursor) -> None:
    words = ["orchestrator", "replay", "--database", url]
    same = CliRunner().invoke(app, words)
    assert same.exit_code == 0
    assert same.stdout.endswith("the events rebuild the tables.\n")
    cursor.execute("UPDATE compute_plan SET owner = 'x'")
    differing = cursor.rowcount
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[-1] == f"{differing} differences."
    assert sum("owner is x, by its events" in line for line in lines) == min(differing, 100)


def test_the_command_exits_with_two_where_it_cannot_look(database_url: str) -> None:
    done = CliRunner().invoke(app, ["orchestrator", "replay", "--database", database_url])
    assert done.exit_code == 2
    assert done.stderr == "The database holds no ledger.\n"
