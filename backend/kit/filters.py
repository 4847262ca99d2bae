"""Filters of list routes (rest-api.md 6.2–6.4) as SQL conditions.

Every function takes the parameters, the parameter's name and a column, and returns a list of conditions to
AND: empty when the parameter is absent, empty or to be ignored. A list route says

    conditions = [
        *uuids_in(parameters, "key", table.key),
        *texts_in(parameters, "owner", table.owner),
        *dates_between(parameters, "creation_date", table.creation_date),
        *matching(parameters, [table.key, table.name]),
    ]
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Text, cast, false, or_, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from backend.kit.errors import Invalid
from backend.kit.parameters import Parameters, listed

Conditions = list[ColumnElement[bool]]
Column = Any  # a SQLModel attribute or a Core column: both become ColumnElement in an expression

_WORDS = re.compile(r'"([^"]*)"|\'([^\']*)\'|([^\s,]+)')
MAX_INTEGER = 2**31 - 1


def as_uuid(name: str, value: str) -> UUID:
    """A key given in dashed or 32-hex form.

    Raises:
        Invalid: it is neither (400 under the parameter's name).
    """
    try:
        return UUID(value)
    except ValueError:
        raise Invalid({name: [f"“{value}” is not a valid UUID."]}) from None


def texts_in(parameters: Parameters, name: str, column: Column) -> Conditions:
    values = listed(parameters, name)
    return [column.in_(values)] if values else []


def uuids_in(parameters: Parameters, name: str, column: Column) -> Conditions:
    values = listed(parameters, name)
    return [column.in_([as_uuid(name, value) for value in values])] if values else []


def integers_in(parameters: Parameters, name: str, column: Column) -> Conditions:
    """Comma list of integers; those beyond PostgreSQL's `integer` match nothing.

    Raises:
        Invalid: a value is no integer (400).
    """
    values = listed(parameters, name)
    if not values:
        return []
    try:
        numbers = [int(value) for value in values]
    except ValueError:
        raise Invalid({name: ["Enter a number."]}) from None
    return [column.in_([number for number in numbers if abs(number) <= MAX_INTEGER])]


def choices_in(
    parameters: Parameters,
    name: str,
    column: Column,
    choices: Iterable[str],
    *,
    lenient: bool = False,
) -> Conditions:
    """Comma list out of `choices`. `lenient` drops unknown ones (task asset lists, rest-api.md 12.4).

    Raises:
        Invalid: an unknown choice, unless lenient (400).
    """
    values = listed(parameters, name)
    if not values:
        return []
    known = set(choices)
    for value in values:
        if value not in known and not lenient:
            message = f"Select a valid choice. {value} is not one of the available choices."
            raise Invalid({name: [message]})
    return [column.in_([value for value in values if value in known])]


def moment(name: str, value: str) -> datetime:
    """An ISO date (midnight UTC) or datetime (naive: UTC) as an aware datetime.

    Raises:
        Invalid: anything else (400 under `name`).
    """
    try:
        if len(value) > 40:
            raise ValueError(value)
        if len(value) == 10:
            return datetime.combine(date.fromisoformat(value), time(), UTC)
        # An unescaped `+01:00` arrives as a space in a query string.
        parsed = datetime.fromisoformat(re.sub(r" (?=\d\d:?\d\d$)", "+", value.strip()))
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid({name: ["Enter a valid date/time."]}) from None


def dates_between(parameters: Parameters, name: str, column: Column) -> Conditions:
    """`<name>_after` and `<name>_before`, both inclusive."""
    conditions: Conditions = []
    if after := parameters.get(f"{name}_after", "").strip():
        conditions.append(column >= moment(name, after))
    if before := parameters.get(f"{name}_before", "").strip():
        conditions.append(column <= moment(name, before))
    return conditions


def numbers_between(parameters: Parameters, name: str, column: Column) -> Conditions:
    """`<name>_min` and `<name>_max`, both inclusive.

    Raises:
        Invalid: a bound is no finite number (400).
    """
    conditions: Conditions = []
    if low := parameters.get(f"{name}_min", "").strip():
        conditions.append(column >= _number(name, low))
    if high := parameters.get(f"{name}_max", "").strip():
        conditions.append(column <= _number(name, high))
    return conditions


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not abs(number) <= 1e18:
        raise Invalid({name: ["Enter a number."]})
    return number


def permitting(parameters: Parameters, name: str, public: Column, authorized: Column) -> Conditions:
    """Public, or authorizing *all* organizations of the comma list."""
    values = listed(parameters, name)
    if not values:
        return []
    return [or_(public, cast(authorized, ARRAY(Text)).contains(values))]


def matching(parameters: Parameters, columns: Sequence[Column], name: str = "match") -> Conditions:
    """Every word (or quoted phrase) is found, ignoring case, in at least one of the columns."""
    conditions: Conditions = []
    for groups in _WORDS.findall(parameters.get(name, ""))[:32]:
        word = next((group for group in groups if group), "")
        if word:
            pattern = f"%{_escaped(word)}%"
            found = [cast(column, Text).ilike(pattern, escape="\\") for column in columns]
            conditions.append(or_(*found))
    return conditions


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a metadata filter asks for: an entry of this key, whose value is or contains this text."""

    key: str
    type: str  # exists, is, contains
    value: str

    @property
    def pattern(self) -> str:
        """For ILIKE with a backslash as escape."""
        return f"%{_escaped(self.value)}%"


def metadata_entries(
    parameters: Parameters, name: str = "metadata", most: int = 64
) -> list[Entry] | None:
    """The metadata filter: a JSON array of `{"key", "type", "value"}`; malformed means no filter at all.

    None: an entry that nothing can have.
    """
    try:
        asked = orjson.loads(parameters.get(name, ""))
    except orjson.JSONDecodeError:
        return []
    if not isinstance(asked, list) or not all(_is_condition(entry) for entry in asked):
        return []
    entries = []
    for entry in asked[:most]:
        value = entry.get("value")
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        if "\0" in entry["key"] or "\0" in text:  # PostgreSQL's text has none
            return None
        if entry["type"] in ("exists", "is", "contains"):
            entries.append(Entry(entry["key"], entry["type"], text))
    return entries


def metadata_holding(parameters: Parameters, column: Column) -> Conditions:
    """The metadata filter on a document."""
    entries = metadata_entries(parameters)
    if entries is None:
        return [false()]
    conditions: Conditions = []
    document = type_coerce(column, JSONB)
    for entry in entries:
        value = document.op("->>", return_type=Text())(entry.key)
        if entry.type == "exists":
            conditions.append(document.has_key(entry.key))
        elif entry.type == "is":
            conditions.append(value == entry.value)
        else:
            conditions.append(value.ilike(entry.pattern, escape="\\"))
    return conditions


def _is_condition(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("key"), str)
        and isinstance(entry.get("type"), str)
    )


def ordered_by(
    parameters: Parameters,
    fields: Mapping[str, Column],
    default: Sequence[Column],
    key: Column,
) -> list[ColumnElement[Any]]:
    """The ORDER BY of `ordering=a,-b`: unknown fields drop out, none left means `default`, `key` breaks ties.

    Ascending order has NULLs last, descending first (PostgreSQL's default). Ties are broken in the direction of
    the last field, so that an index on (field, key) gives both directions.
    """
    chosen: list[Any] = []
    last = key
    for field in listed(parameters, "ordering"):
        column = fields.get(field.removeprefix("-"))
        if column is not None:
            down = field.startswith("-")
            chosen.append(column.desc() if down else column.asc())
            last = key.desc() if down else key
    return [*(chosen or default), last]
