"""Bring a database to the schema of this version; safe to call from every process at start."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from backend.kit.database import DURABLE, Database

_LOCK = 0x5B57A  # one number for all databases: an advisory lock belongs to one database
SCRIPTS = Path(__file__).parents[1] / "migrations"


class SchemaUnusable(RuntimeError):
    """This version cannot work on the database, and trying again will not change that. The text says why."""


def configuration(connection: Connection) -> Config:
    """Alembic's configuration for `backend/migrations` on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    return config


def prepare(database: Database) -> None:
    """Run what is missing, one process at a time: the others wait for the lock, then find all there.

    Raises:
        SchemaUnusable: the database is of another version, or a migration fails; nothing was changed.
        sqlalchemy.exc.OperationalError: the database cannot be reached now.
    """
    try:
        with database.engine.begin() as connection:
            connection.exec_driver_sql(DURABLE)
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            command.upgrade(configuration(connection), "head")
    except CommandError as error:
        raise SchemaUnusable(
            f"The database has the schema of another version ({error}). Use that version, or a backup made "
            "before it was used."
        ) from error
    except (OperationalError, InterfaceError):
        raise
    except DBAPIError as error:
        raise SchemaUnusable(
            f"The database cannot be brought to the schema of this version, and was left as it is: {error.orig}"
        ) from error


def revision(database: Database) -> str | None:
    """The schema that a database has; None for an empty one."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def pending(database: Database) -> tuple[int, int]:
    """How many migrations a database has, and how many of this version it lacks."""
    known, current = _revisions(), revision(database)
    applied = known.index(current) + 1 if current in known else 0
    return applied, len(known) - applied


@cache
def _revisions() -> tuple[str, ...]:
    """Those of this version, oldest first."""
    scripts = ScriptDirectory(str(SCRIPTS)).walk_revisions()
    return tuple(script.revision for script in scripts)[::-1]
