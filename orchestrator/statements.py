"""The text of a commit: many statements that PostgreSQL runs as one transaction, in one round trip.

Rows by the dozen share a statement. A single row is written by a function of the database (migration 0002):
planning a statement for it would take longer than carrying it out, and the plans of functions are kept.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812

FEW = 8
"""Rows of a table up to which calls are cheaper."""
BY_CALL = {
    "event",
    "compute_task",
    "task_parent",
    "model",
    "performance",
    "output_asset",
    "storage_address",
}
"""Tables with a function `ledger_add_<table>` of their columns."""
UNLESS_THERE = b" ON CONFLICT DO NOTHING"


class Script:
    """Statements in the making. Single rows go through functions, whose plans PostgreSQL keeps."""

    def __init__(self, cursor: Cursor) -> None:
        self.mogrify = cursor.mogrify
        self._parts: list[bytes] = []
        self._calls: list[bytes] = []

    def add(self, statement: str, arguments: Sequence[Any]) -> None:
        self._close()
        self._parts.append(self.mogrify(statement, arguments))

    def call(self, function: str, rows: Iterable[Sequence[Any]]) -> None:
        """Call it for each row, in the statement of the calls before."""
        for row in rows:
            self._calls.append(self.mogrify(f"{function}({_places(row)})", row))

    def insert(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        if len(rows) <= FEW and table in BY_CALL:
            self.call(f"ledger_add_{table}", rows)
            return
        self.insert_all(table, columns, rows)

    def insert_all(
        self, table: str, columns: str, rows: Sequence[Sequence[Any]], suffix: bytes = b""
    ) -> None:
        self._close()
        one = f"({_places(rows[0])})"
        values = b",".join([self.mogrify(one, row) for row in rows])
        into = f"INSERT INTO {table} ({columns}) VALUES "  # noqa: S608
        self._parts.append(into.encode() + values + suffix)

    def text(self) -> bytes:
        self._close()
        return b";\n".join(self._parts)

    def _close(self) -> None:
        if self._calls:
            self._parts.append(b"SELECT " + b",".join(self._calls))
            self._calls.clear()


def _places(row: Sequence[Any]) -> str:
    return ",".join(["%s"] * len(row))
