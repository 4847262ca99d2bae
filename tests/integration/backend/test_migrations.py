"""The migrations and the tables say the same; processes that start together migrate once."""

from concurrent.futures import ThreadPoolExecutor

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from backend.kit.database import Database
from backend.kit.migrations import configuration, prepare
from backend.tables import metadata


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
