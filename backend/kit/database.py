"""One organization's PostgreSQL: a bounded pool and transactions opened at the edge."""

from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from sqlalchemy import Connection, Engine, event
from sqlmodel import Session, create_engine

from backend.kit.crash_points import crash_points


def _driver(url: str) -> str:
    """psycopg2, whatever SQLAlchemy's default driver for `postgresql://` is."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg2://{rest}" if separator and scheme in _PLAIN else url


_PLAIN = ("postgresql", "postgres")
# Pages come from memory or from flash: an index costs what it reads, not what a disk's arm would.
_OPTIONS = (
    "-c timezone=UTC -c synchronous_commit=off -c random_page_cost=1.1"
    # A machine without power says no word: its locks are let go within half a minute, not in two hours.
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=30000"
)
DURABLE = "SET LOCAL synchronous_commit = on"
"""First statement of a transaction on one of our connections that is to survive a crash of PostgreSQL."""


_READS = "substra_reads"


def _set_mode(connection: Connection) -> None:
    """Give a connection the mode that its user needs, when its last user needed the other.

    SQLAlchemy's own option sets the mode and takes it back each time, and psycopg2 gives up the interpreter's
    lock for either: with eight threads that was more than half of the time of a small read.
    """
    driver = connection.connection.dbapi_connection
    assert driver is not None
    wanted = _READS in connection.get_execution_options()
    if driver.autocommit is not wanted:
        driver.autocommit = wanted


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


class Database:
    """A bounded pool of connections; `size` follows rule 11 (API 8, control actor 4)."""

    def __init__(self, url: str, *, size: int = 8) -> None:
        self.url = url
        self.engine: Engine = create_engine(
            _driver(url),
            pool_size=size,
            max_overflow=0,
            pool_pre_ping=False,
            pool_timeout=30,
            json_serializer=_json,
            json_deserializer=orjson.loads,
            connect_args={"application_name": "substra-ray", "options": _OPTIONS},
            skip_autocommit_rollback=True,
        )
        self._reader = self.engine.execution_options(**{_READS: True})
        event.listen(self.engine, "begin", _set_mode)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Session]:
        """A session that commits on leaving and rolls back on any error.

        `durable=False` does not wait for the flush, for what can be replayed (rule 8). It is the default of
        our connections, since such transactions are the many: the others say so themselves.
        """
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            if durable:
                session.connection().exec_driver_sql(DURABLE)
            yield session
            crash_points.reach_commit("before")
        crash_points.reach_commit("after")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in autocommit mode: one round trip a query, for reads that need no common snapshot."""
        with self._reader.connect() as connection:
            _set_mode(connection)
            yield connection

    def dispose(self) -> None:
        self.engine.dispose()
