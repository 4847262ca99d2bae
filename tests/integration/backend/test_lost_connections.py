"""A database that drops its connections, as at a restart: 503 to be repeated, never 500, and soon 200 again."""

import httpx
import psycopg2
import pytest
from sqlalchemy import bindparam, literal, select
from sqlalchemy.exc import DataError, OperationalError

from backend.kit.database import Database
from backend.kit.statements import Statement
from backend.settings import Settings

PATHS = (
    *("/function/", "/compute_plan/", "/task/", "/performance/", "/news_feed/", "/organization/"),
    *("/info/", "/users/", "/compute_plan/00000000-0000-0000-0000-000000000000/"),
)
END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


def _drop_connections(address: str) -> None:
    connection = psycopg2.connect(address)
    try:
        with connection.cursor() as cursor:
            cursor.execute(END, (address.rpartition("/")[2],))
            cursor.fetchall()
    finally:
        connection.close()


def test_dropped_connections_are_no_500(user: httpx.Client, settings: Settings) -> None:
    for path in PATHS:
        expected = user.get(f"/org-1{path}").status_code
        assert expected in (200, 404)
        _drop_connections(str(settings.DATABASE_URL))
        seen = []
        for _ in range(20):  # as many as there are connections in the pool, and some
            answer = user.get(f"/org-1{path}")
            seen.append(answer.status_code)
            assert answer.status_code in (expected, 503), answer.text
            assert "Retry-After" in answer.headers or answer.status_code == expected
        assert seen[-1] == expected


def test_prepared_query_on_a_dropped_connection_fails_like_any_other(database_url: str) -> None:
    statement = Statement(select((literal(2) / bindparam("by")).label("half")))
    database = Database(database_url, size=2)
    with database.reading() as connection:
        assert statement.rows(connection, {"by": 1})[0].half == 2
        with pytest.raises(DataError):
            statement.rows(connection, {"by": 0})
        _drop_connections(database_url)
        with pytest.raises(OperationalError) as lost:
            statement.rows(connection, {"by": 1})
        assert lost.value.connection_invalidated
    with database.reading() as connection:
        assert statement.rows(connection, {"by": 2})[0].half == 1
    database.dispose()


def test_locks_of_a_machine_that_is_gone_are_let_go(database_url: str) -> None:
    """PostgreSQL looks whether the client's machine is there: an open transaction may hold a loop's lease."""
    database = Database(database_url, size=1)
    with database.reading() as connection:
        shown = [
            connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
        ]
    database.dispose()
    idle, interval, count = map(int, shown)  # type: ignore[arg-type]
    assert 0 < idle + interval * count <= 30
