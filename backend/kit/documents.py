"""Rows of several tables in one query: each as a JSON document beside the name of what it belongs to."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import orjson
from sqlalchemy import Connection, Select, Text, cast, func, literal, select, union_all
from sqlmodel import Session

MOMENTS = ("creation_date",)


def documents(
    connection: Connection | Session, queries: Mapping[str, Select[Any]]
) -> Iterator[tuple[str, Any]]:
    """Each query's rows, with its name; what `Row` has as attributes the rows have too.

    Columns are what JSON has: texts, numbers, lists and `MOMENTS`. Cast keys, documents and floats to texts.
    """
    parts = []
    for number, (name, query) in enumerate(queries.items()):
        row = query.subquery(f"row_{number}")
        document = cast(func.row_to_json(row.table_valued()), Text)
        parts.append(
            select(literal(name).label("kind"), document.label("document")).select_from(row)
        )
    if not parts:
        return
    for kind, content in connection.execute(union_all(*parts)):
        members = orjson.loads(content)
        for name in MOMENTS:
            if members.get(name) is not None:
                members[name] = datetime.fromisoformat(members[name])
        yield kind, SimpleNamespace(**members)
