"""The migrations and the tables say the same; processes that start together migrate once."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from backend.kit.database import Database
from backend.kit.migrations import SchemaUnusable, configuration, prepare, revision
from backend.tables import metadata
from network.ports import free_port


def test_the_newest_schema_is_what_the_tables_say(database_url: str) -> None:
    database = Database(database_url)
    try:
        prepare(database)
        with database.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []
    finally:
        database.dispose()


def test_processes_that_start_together_wait_for_each_other(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(4)]
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(prepare, databases)) == [None] * 4
        with databases[0].engine.connect() as connection:
            versions = connection.exec_driver_sql("SELECT version_num FROM alembic_version").all()
            head = ScriptDirectory.from_config(configuration(connection)).get_current_head()
        assert versions == [(head,)]
    finally:
        for database in databases:
            database.dispose()


def _execute(database: Database, statement: str) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_a_database_of_a_newer_version_is_refused_in_words(database_url: str) -> None:
    database = Database(database_url)
    try:
        prepare(database)
        _execute(database, "UPDATE alembic_version SET version_num = '9999_from_the_future'")
        with pytest.raises(SchemaUnusable, match=r"another version .*9999_from_the_future"):
            prepare(database)
    finally:
        database.dispose()


def test_a_migration_that_fails_changes_nothing_and_says_why(database_url: str) -> None:
    database = Database(database_url)
    try:
        _execute(database, "CREATE TABLE compute_plan (key int)")  # the first migration makes it
        with pytest.raises(SchemaUnusable, match=r'"compute_plan" already exists'):
            prepare(database)
        assert revision(database) is None
    finally:
        database.dispose()


def test_an_api_that_never_will_work_ends_with_the_reason(
    database_url: str, tmp_path: Path
) -> None:
    """What the supervisor, or a cluster, sees of it: a status that says so, and one line."""
    database = Database(database_url)
    try:
        _execute(database, "CREATE TABLE compute_plan (key int)")
    finally:
        database.dispose()
    settings = {"NAME": "org-1", "MSP_ID": "MyOrg1MSP", "DATABASE_URL": database_url}
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({**settings, "MEDIA_ROOT": str(tmp_path / "medias")}))
    words = ["-m", "backend.asgi", "--settings", str(file), "--port", str(free_port())]
    ended = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == os.EX_CONFIG, ended.stderr
    last = json.loads((ended.stdout + ended.stderr).strip().splitlines()[-1])
    assert last["event"] == "schema_unusable"
    assert '"compute_plan" already exists' in last["reason"]
