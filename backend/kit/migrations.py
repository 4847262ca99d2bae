"""Bring a database to the schema of this version; safe to call from every process at start."""

from sqlalchemy import MetaData, text

from backend.kit.database import Database

_LOCK = 0x5B57A  # one number for all databases: an advisory lock belongs to one database


def prepare(database: Database, metadata: MetaData) -> None:
    """Create what is missing, one process at a time (others wait for the lock, then find all there)."""
    with database.engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        metadata.create_all(connection)
