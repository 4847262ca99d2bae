"""One organization's PostgreSQL: a bounded pool and transactions opened at the edge."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlmodel import Session, create_engine


class Database:
    """A bounded pool of connections; `size` follows rule 11 (API 8, control actor 4)."""

    def __init__(self, url: str, *, size: int = 8) -> None:
        self.url = url
        self.engine: Engine = create_engine(
            url,
            pool_size=size,
            max_overflow=0,
            pool_pre_ping=False,
            pool_timeout=30,
            connect_args={"application_name": "substra-ray", "options": "-c timezone=UTC"},
        )

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Session]:
        """A session that commits on leaving and rolls back on any error.

        `durable=False` sets `synchronous_commit = off`, for what can be replayed (rule 8).
        """
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            if not durable:
                session.connection().exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield session

    def dispose(self) -> None:
        self.engine.dispose()
