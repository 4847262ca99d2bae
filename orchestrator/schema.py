"""The schema brought up to date under a lock: `python -m orchestrator.schema`.

A ledger process has this done by a child: the libraries of the migrations take 20 MB, which it would hold for
its whole life.
"""

import os
import sys
from pathlib import Path

import psycopg2
import sqlalchemy
import sqlalchemy.exc
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

MIGRATION_LOCK = (
    0x5375_4C65  # an arbitrary number of ours: servers that start together migrate one by one
)


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database up to a schema, the newest by default; who starts meanwhile waits.

    Raises:
        psycopg2.Error: the database cannot be used.
        RuntimeError: it was written by a newer version.
    """
    engine = sqlalchemy.create_engine(_driver(url), poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            _upgrade(connection, revision)
    except sqlalchemy.exc.DBAPIError as error:
        raise error.orig or error from None
    except CommandError as error:
        raise RuntimeError(f"the database has the schema of another version: {error}") from None
    finally:
        engine.dispose()


def _upgrade(connection: sqlalchemy.Connection, revision: str) -> None:
    config = _alembic()
    connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({MIGRATION_LOCK})"))
    connection.commit()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_unlock({MIGRATION_LOCK})"))
        connection.commit()


def newest() -> str | None:
    """The last migration's name."""
    return ScriptDirectory.from_config(_alembic()).get_current_head()


def knows_revision(revision: str) -> bool:
    """Whether this version has the schema of that name."""
    scripts = ScriptDirectory.from_config(_alembic())
    return revision in {script.revision for script in scripts.walk_revisions()}


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _driver(url: str) -> str:
    _, _, rest = url.partition("://")
    return f"postgresql+psycopg2://{rest}"


if __name__ == "__main__":
    try:
        migrate(os.environ["ORCHESTRATOR_DATABASE_URL"])
    except (psycopg2.Error, RuntimeError) as failure:
        sys.exit(str(failure).strip())
