"""Queries that never change, compiled once and run on the driver's own cursor.

SQLAlchemy needs longer to build a query, to recognise it and to wrap its rows than PostgreSQL needs to answer.
A `Statement` does the first two once, and gives plain named tuples.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any

import psycopg2
from sqlalchemy import BindParameter, CompoundSelect, Connection, Select, String, Uuid, bindparam
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

Rows = list[Any]
CHANNEL = bindparam("channel", type_=String)
"""The channel of a prepared query."""


def key_parameter(name: str = "key") -> BindParameter[Any]:
    """A key in a prepared query; its value is given as text."""
    return bindparam(name, type_=Uuid)


class Statement:
    """A SELECT whose `bindparam`s get their values at each call; keys are given as texts.

    The driver sees no types of columns: select keys as `cast(column, Text)` and documents as texts.
    """

    def __init__(self, query: Select[Any] | CompoundSelect[Any]) -> None:
        compiled = query.compile(dialect=PGDialect_psycopg2())  # type: ignore[no-untyped-call]
        self._sql = str(compiled)
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}
        names = [str(column.key) for column in query.selected_columns]
        self._made: Callable[[Any], Any] = _maker(names)

    def rows(self, connection: Connection | Session, values: Mapping[str, Any]) -> Rows:
        """All rows.

        Raises:
            DBAPIError: as SQLAlchemy's own queries do; a broken connection does not go back to the pool.
        """
        if isinstance(connection, Session):
            connection = connection.connection()
        cursor = None
        try:
            cursor = connection.connection.cursor()
            cursor.execute(self._sql, {**self._fixed, **values})
            return list(map(self._made, cursor.fetchall()))
        except psycopg2.Error as error:
            raise self._known(connection, error) from error
        finally:
            if cursor is not None:
                cursor.close()

    def _known(self, connection: Connection, error: Any) -> DBAPIError:
        broken = connection.dialect.is_disconnect(error, None, None)
        if broken:
            connection.invalidate(error)
        found = DBAPIError.instance(
            self._sql, None, error, psycopg2.Error, connection_invalidated=broken
        )
        assert isinstance(found, DBAPIError)
        return found

    def first(self, connection: Connection | Session, values: Mapping[str, Any]) -> Any | None:
        """The first row, or None."""
        rows = self.rows(connection, values)
        return rows[0] if rows else None


def _maker(names: list[str]) -> Callable[[Any], Any]:
    row: Any = namedtuple("row", names)  # type: ignore[misc]
    made: Callable[[Any], Any] = row._make
    return made
