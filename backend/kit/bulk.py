"""Many rows in one statement: the rows travel as one JSON parameter, whatever their number."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Table, text
from sqlalchemy.dialects import postgresql
from sqlmodel import Session, SQLModel

from backend.kit.columns import core

Row = Mapping[str, Any]


def insert_rows(session: Session, table: type[SQLModel], rows: Sequence[Row]) -> list[Any]:
    """Insert rows that are not there yet; return the first key column of those that were inserted.

    Every row has the same columns (database names). Existing rows are left as they are (`ON CONFLICT DO
    NOTHING`). The caller sorts the rows by key, so that two transactions never wait for each other.
    """
    if not rows:
        return []
    statement = _insert(core(table), tuple(rows[0]))
    return list(session.connection().execute(text(statement), {"rows": _document(rows)}).scalars())


def update_rows(session: Session, table: type[SQLModel], rows: Sequence[Row]) -> None:
    """Set every column of `rows` other than the first, which is the key. All rows have the same columns."""
    if not rows:
        return
    statement = _update(core(table), tuple(rows[0]))
    session.connection().execute(text(statement), {"rows": _document(rows)})


def _document(rows: Sequence[Row]) -> str:
    # PostgreSQL's text has no NUL: a foreign one becomes the replacement character instead of stopping a batch.
    return orjson.dumps(list(rows)).replace(rb"\u0000", rb"\ufffd").decode()


def _record(table: Table, columns: tuple[str, ...]) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    types = ", ".join(f'"{c}" {table.c[c].type.compile(dialect=dialect)}' for c in columns)
    return f"json_to_recordset(CAST(:rows AS json)) AS r({types})"


@lru_cache(maxsize=64)
def _insert(table: Table, columns: tuple[str, ...]) -> str:
    names = ", ".join(f'"{c}"' for c in columns)
    key = next(iter(table.primary_key.columns)).name
    return (
        f'INSERT INTO "{table.name}" ({names}) SELECT {names} FROM {_record(table, columns)} '  # noqa: S608
        f'ON CONFLICT DO NOTHING RETURNING "{key}"'
    )


@lru_cache(maxsize=64)
def _update(table: Table, columns: tuple[str, ...]) -> str:
    key, *values = columns
    assignments = ", ".join(f'"{c}" = r."{c}"' for c in values)
    return (
        f'UPDATE "{table.name}" AS t SET {assignments} FROM {_record(table, columns)} '  # noqa: S608
        f'WHERE t."{key}" = r."{key}"'
    )
