"""The ledger's PostgreSQL: connections, the readers' pool, and whether its schema is ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from threading import BoundedSemaphore

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extensions import parse_dsn

SCHEMA = "0002"
"""The newest migration."""
URL_WANTED = "give a URL such as postgresql://user@host:5432/database"
_LOST = (psycopg2.OperationalError, psycopg2.InterfaceError)


def connect(url: str, role: str, *, durable: bool = True) -> Connection:
    """A connection in autocommit mode: one execute is one transaction, however many statements it holds.

    `durable=False` does not wait for the flush: for what may be lost, as a notification.
    """
    options = "-c timezone=UTC -c plan_cache_mode=force_generic_plan -c jit=off" + (
        "" if durable else " -c synchronous_commit=off"
    )
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


def is_url(value: str) -> bool:
    """Whether it can be the URL of a PostgreSQL database."""
    url = value.replace("postgresql+psycopg2://", "postgresql://", 1)
    try:
        parse_dsn(url)
    except psycopg2.Error:
        return False
    return url.startswith(("postgresql://", "postgres://"))


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


def is_current(url: str) -> bool:
    """Whether the database has the schema of this version. Looks without the migrations' libraries."""
    connection = connect(url, "start")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('alembic_version')")
            if cursor.fetchone() == (None,):
                return False
            cursor.execute("SELECT version_num FROM alembic_version")
            return cursor.fetchall() == [(SCHEMA,)]
    finally:
        connection.close()
