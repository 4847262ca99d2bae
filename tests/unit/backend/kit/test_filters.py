"""Filters of list routes as SQL (rest-api.md 6.2–6.4)."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from fastapi import Request
from sqlalchemy import Column, DateTime, Integer, MetaData, Table, Text, Uuid
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from backend.kit import filters
from backend.kit.errors import Invalid
from backend.kit.parameters import query_parameters

table = Table(
    "t",
    MetaData(),
    Column("key", Uuid),
    Column("name", Text),
    Column("rank", Integer),
    Column("created", DateTime(timezone=True)),
    Column("metadata", JSONB),
    Column("ids", ARRAY(Text)),
    Column("public", Integer),
).c
KEY = "11111111-2222-3333-4444-555555555555"


def sql(conditions: list[Any]) -> list[str]:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    compiled = [
        c.compile(dialect=dialect, compile_kwargs={"literal_binds": True}) for c in conditions
    ]
    return [str(one).replace("::VARCHAR", "").replace("%%", "%") for one in compiled]


def request(*pairs: tuple[str, str]) -> Request:
    return Request({"type": "http", "query_string": urlencode(pairs).encode(), "headers": []})


def test_last_of_repeated_parameters_wins() -> None:
    assert query_parameters(request(("a", "1"), ("b", "2"), ("a", "3"))) == {"a": "3", "b": "2"}


def test_nul_in_a_parameter_is_bad_input() -> None:
    with pytest.raises(Invalid):
        query_parameters(request(("a", "x\0")))


def test_comma_lists() -> None:
    assert sql(filters.texts_in({"owner": "a, b,"}, "owner", table.name)) == [
        "t.name IN ('a', 'b')"
    ]
    assert filters.texts_in({"owner": ""}, "owner", table.name) == []
    assert filters.texts_in({}, "owner", table.name) == []


def test_keys_come_dashed_or_plain_and_nothing_else() -> None:
    (condition,) = filters.uuids_in({"key": KEY.replace("-", "")}, "key", table.key)
    assert condition.compile().params == {"key_1": [UUID(KEY)]}
    with pytest.raises(Invalid) as refused:
        filters.uuids_in({"key": "abc"}, "key", table.key)
    assert refused.value.body() == {"key": ["“abc” is not a valid UUID."]}


def test_choices() -> None:
    with pytest.raises(Invalid) as refused:
        filters.choices_in({"status": "FOO"}, "status", table.name, ["A"])
    message = "Select a valid choice. FOO is not one of the available choices."
    assert refused.value.body() == {"status": [message]}
    lenient = filters.choices_in({"kind": "A,FOO"}, "kind", table.name, ["A"], lenient=True)
    assert sql(lenient) == ["t.name IN ('A')"]


@pytest.mark.parametrize("value", ["x", "1.5", ""])
def test_integers(value: str) -> None:
    if not value:
        assert filters.integers_in({"rank": value}, "rank", table.rank) == []
        return
    with pytest.raises(Invalid):
        filters.integers_in({"rank": value}, "rank", table.rank)


def test_integers_beyond_the_column_match_nothing() -> None:
    conditions = filters.integers_in({"rank": f"1,{10**30}"}, "rank", table.rank)
    assert sql(conditions) == ["t.rank IN (1)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024-05-01T23:59:59.999999Z", datetime(2024, 5, 1, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2024-05-01T02:00:00+02:00", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024-05-01T02:00:00 02:00", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024-05-01T01:00:00", datetime(2024, 5, 1, 1, tzinfo=UTC)),
    ],
)
def test_moments(text: str, expected: datetime) -> None:
    assert filters.moment("created", text) == expected


@pytest.mark.parametrize("text", ["x", "2024-13-01", "2024", "0001-01-01T00:00:00+14:00", "1" * 99])
def test_bad_moments_are_named(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        filters.dates_between({"created_after": text}, "created", table.created)
    assert refused.value.body() == {"created": ["Enter a valid date/time."]}


def test_ranges_are_inclusive() -> None:
    bounds = {"created_after": "2024-01-01", "created_before": "2024-02-01"}
    first, second = sql(filters.dates_between(bounds, "created", table.created))
    assert first.startswith("t.created >= ")
    assert second.startswith("t.created <= ")
    numbers = sql(filters.numbers_between({"d_min": "1", "d_max": "2.5"}, "d", table.rank))
    assert numbers == ["t.rank >= 1.0", "t.rank <= 2.5"]


@pytest.mark.parametrize("value", ["x", "nan", "inf", "1e99"])
def test_bad_numbers_are_named(value: str) -> None:
    with pytest.raises(Invalid) as refused:
        filters.numbers_between({"duration_min": value}, "duration", table.rank)
    assert refused.value.body() == {"duration": ["Enter a number."]}


def test_every_word_must_match_somewhere() -> None:
    conditions = filters.matching({"match": 'a_b, "two words"'}, [table.key, table.name])
    first, second = sql(conditions)
    assert "'%a\\_b%'" in first.replace("\\\\", "\\")
    assert first.count("ILIKE") == 2
    assert "'%two words%'" in second
    assert filters.matching({"match": " , "}, [table.name]) == []


def test_permission_means_public_or_all_named() -> None:
    conditions = filters.permitting({"can_process": "a,b"}, "can_process", table.public, table.ids)
    (text,) = sql(conditions)
    assert " OR " in text
    assert "@>" in text


@pytest.mark.parametrize(
    "value",
    ["", "x", "{}", "[1]", '[{"key": "a"}]', '[{"type": "is"}]', '[{"key": 1, "type": "is"}]', "["],
)
def test_malformed_metadata_is_no_filter(value: str) -> None:
    assert filters.metadata_holding({"metadata": value}, table.metadata) == []


def test_metadata_conditions() -> None:
    value = (
        '[{"key": "a", "type": "exists"}, {"key": "b", "type": "is", "value": 1},'
        ' {"key": "c", "type": "contains", "value": "x%"}, {"key": "d", "type": "else"}]'
    )
    exists, equal, contains = sql(filters.metadata_holding({"metadata": value}, table.metadata))
    assert exists == "t.metadata ? 'a'"
    assert equal == "(t.metadata ->> 'b') = '1'"
    assert "ILIKE" in contains


def test_metadata_entries_are_the_same_for_rows_and_documents() -> None:
    value = '[{"key": "b", "type": "contains", "value": 1.5}, {"key": "d", "type": "else"}]'
    (entry,) = filters.metadata_entries({"metadata": value}) or []
    assert (entry.key, entry.type, entry.value, entry.pattern) == ("b", "contains", "1.5", "%1.5%")
    nothing = '[{"key": "a\\u0000", "type": "exists"}]'
    assert filters.metadata_entries({"metadata": nothing}) is None
    assert sql(filters.metadata_holding({"metadata": nothing}, table.metadata)) == ["false"]


def test_ordering_drops_what_it_does_not_know_and_breaks_ties() -> None:
    fields = {"name": table.name, "rank": table.rank}
    order = filters.ordered_by({"ordering": "-name,none,rank"}, fields, [table.rank], table.key)
    assert sql(order) == ["t.name DESC", "t.rank ASC", "t.key"]
    default = filters.ordered_by({"ordering": "none"}, fields, [table.rank], table.key)
    assert sql(default) == ["t.rank", "t.key"]
    down = filters.ordered_by({"ordering": "rank,-name"}, fields, [table.rank], table.key)
    assert sql(down) == ["t.rank ASC", "t.name DESC", "t.key DESC"]
