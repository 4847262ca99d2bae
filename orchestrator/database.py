"""The ledger's PostgreSQL: connections, the readers' pool, and the schema brought up to date under a lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from threading import BoundedSemaphore

import psycopg2
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

MIGRATION_LOCK = (
    0x5375_4C65  # an arbitrary number of ours: servers that start together migrate one by one
)
_LOST = (psycopg2.OperationalError, psycopg2.InterfaceError)


def connect(url: str, role: str, *, durable: bool = True) -> Connection:
    """A connection in autocommit mode: one execute is one transaction, however many statements it holds.

    `durable=False` does not wait for the flush: for what may be lost, as a notification.
    """
    options = "-c timezone=UTC" + ("" if durable else " -c synchronous_commit=off")
    connection = psycopg2.connect(
        url.replace("postgresql+psycopg2://", "postgresql://", 1),
        application_name=f"ledger-{role}",
        options=options,
        connect_timeout=5,
        keepalives_idle=10,
        keepalives_interval=3,
        keepalives_count=3,
    )
    connection.autocommit = True
    return connection


def is_lost(error: BaseException) -> bool:
    """Whether the connection itself failed, so that the outcome of its last statement is not known."""
    if not isinstance(error, _LOST):
        return False
    state = getattr(error, "pgcode", None)
    return state is None or state.startswith(("08", "57P"))


class Pool:
    """At most `size` connections for reads; a broken one is replaced at the next use."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._free = BoundedSemaphore(size)
        self._idle: LifoQueue[Connection] = LifoQueue()

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """A cursor in autocommit mode: each statement sees its own, newest snapshot."""
        with self._free:
            connection = self._take()
            try:
                with connection.cursor() as cursor:
                    yield cursor
            finally:
                if connection.closed:
                    connection.close()
                else:
                    self._idle.put(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Cursor]:
        """A cursor whose statements all see one snapshot."""
        with self.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield cursor
            finally:
                if not cursor.connection.closed:
                    cursor.execute("COMMIT")

    def close(self) -> None:
        """Give up the connections that are not in use; later uses make new ones."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    def _take(self) -> Connection:
        try:
            return self._idle.get_nowait()
        except Empty:
            return connect(self._url, "read")


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database up to a schema, the newest by default; who starts meanwhile waits."""
    engine = sqlalchemy.create_engine(_driver(url), poolclass=sqlalchemy.NullPool)
    config = _alembic()
    with engine.connect() as connection:
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
    engine.dispose()


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
