"""Do the events alone rebuild the rows that the tables hold? Read in one snapshot, while writing goes on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ
from psycopg2.extensions import connection as Connection  # noqa: N812

from orchestrator.database import connect
from orchestrator.events import COLUMNS, FROM, from_row
from orchestrator.maintenance.rebuild import Key, Rebuilt, Row, stable
from orchestrator.maintenance.tables import ROWS, Shape

AT_ONCE = 1_000


@dataclass(slots=True)
class Report:
    """What was compared, and every difference as a line of text."""

    events: int = 0
    rows: int = 0
    channels: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)


def replay(url: str) -> Report:
    """Compare a whole ledger.

    Raises:
        psycopg2.Error: the database cannot be read, or holds no ledger.
    """
    report = Report()
    connection = connect(url, "replay")
    try:
        connection.autocommit = False
        connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
        rebuilt = Rebuilt()
        heads = _heads(connection)
        for channel in heads:
            report.channels[channel] = _take_events(connection, channel, rebuilt, report)
        _check_heads(heads, report)
        rebuilt.finish()
        report.differences += rebuilt.wrong
        for table, shape in ROWS.items():
            _compare(connection, table, shape, rebuilt.rows.get(table, {}), report)
    finally:
        connection.close()
    return report


# ------------------------------------------------------------------ events
def _heads(connection: Connection) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(h.channel, e.channel), coalesce(h.position, 0)"
            " FROM channel_head h FULL JOIN (SELECT DISTINCT channel FROM event) e"
            " ON e.channel = h.channel ORDER BY 1"
        )
        return {channel: int(position) for channel, position in cursor.fetchall()}


def _take_events(connection: Connection, channel: str, rebuilt: Rebuilt, report: Report) -> int:
    """Feed a channel's events in order; the last position."""
    last = 0
    query = f"SELECT {COLUMNS} FROM {FROM} WHERE e.channel = %s ORDER BY e.position"  # noqa: S608
    for row in _rows(connection, query, (channel,)):
        position, payload, document = row[0], row[8], row[11]
        if position != last + 1:
            report.differences.append(f"{channel}: event {position} follows event {last}")
        last = position
        report.events += 1
        if payload is None and document is None:
            report.differences.append(f"{channel}: event {position} tells of a task without a row")
        else:
            rebuilt.take(from_row(row))
    return int(last)


def _check_heads(heads: dict[str, int], report: Report) -> None:
    for channel, position in heads.items():
        if report.channels[channel] != position:
            report.differences.append(
                f"{channel}: the last event is {report.channels[channel]},"
                f" the channel's position says {position}"
            )


# ------------------------------------------------------------------ rows
def _compare(
    connection: Connection, table: str, shape: Shape, told: dict[Key, Row], report: Report
) -> None:
    """Every row of a table against what the events tell; `told` is used up."""
    query = f"SELECT {', '.join(shape.columns)} FROM {table}"  # noqa: S608
    for values in _rows(connection, query):
        report.rows += 1
        key = tuple(values[: len(shape.key)])
        expected = told.pop(key, None)
        name = f"{table} {' '.join(map(str, key))}"
        if expected is None:
            report.differences.append(f"{name}: no event tells of it")
            continue
        for column, value in zip(shape.values, values[len(shape.key) :], strict=True):
            found = _form(shape, column, value)
            if found != expected.get(column):
                report.differences.append(
                    f"{name}: {_difference(shape, column, found, expected.get(column))}"
                )
    report.differences += [f"{table} {' '.join(map(str, key))}: has no row" for key in told]


def _form(shape: Shape, column: str, value: Any) -> Any:
    """A column's value in a form that can be compared."""
    if column == "document" and shape.document is not None:
        return stable(shape.document.FromString(bytes(value)))
    return value


def _difference(shape: Shape, column: str, found: Any, expected: Any) -> str:
    if column == "document" and shape.document is not None and expected is not None:
        fields = _unlike(shape.document.FromString(found), shape.document.FromString(expected))
        return f"its document differs from its events in {', '.join(fields)}"
    return f"{column} is {found}, by its events {expected}"


def _unlike(one: Message, other: Message) -> list[str]:
    """Names of the fields that differ."""
    filled = [{f.name: v for f, v in message.ListFields()} for message in (one, other)]
    return sorted(
        name for name in {*filled[0], *filled[1]} if filled[0].get(name) != filled[1].get(name)
    )


def _rows(
    connection: Connection, query: str, arguments: tuple[Any, ...] = ()
) -> Iterator[tuple[Any, ...]]:
    """Rows of a query, never all at once in memory."""
    with connection.cursor(name="replay") as cursor:
        cursor.itersize = AT_ONCE
        cursor.execute(query, arguments)
        yield from cursor
