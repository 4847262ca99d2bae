"""Pages, addresses and wire dates (rest-api.md 1.4, 6.1, 7)."""

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
import pytest
from fastapi import Request

from backend.kit.addresses import asset_address, base_address, client_address, request_address
from backend.kit.answers import dumps
from backend.kit.errors import NotFound
from backend.kit.pages import Page, PageRequest


def request(
    *, headers: dict[str, str] | None = None, trusted: int = 0, root: str = "/org-1"
) -> Request:
    given = {"host": "api.test:8000", **(headers or {})}
    state = SimpleNamespace(trusted_proxies=trusted, default_domain="http://default/org-1/")
    return Request(
        {
            "type": "http",
            "scheme": "http",
            "path": f"{root}/function/",
            "root_path": root,
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("10.0.0.9", 1),
            "app": SimpleNamespace(state=state),
        }
    )


@pytest.mark.parametrize(
    ("parameters", "number", "size"),
    [
        ({}, 1, 100),
        ({"page": "3", "page_size": "20"}, 3, 20),
        ({"page": "last"}, None, 100),
        ({"page_size": "0"}, 1, 100),
        ({"page_size": "-1"}, 1, 100),
        ({"page_size": "x"}, 1, 100),
        ({"page_size": "99999999"}, 1, 10_000),
    ],
)
def test_page_is_read(parameters: dict[str, str], number: int | None, size: int) -> None:
    assert PageRequest.of(parameters) == PageRequest(number, size)


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "1.0", "٣", "9" * 30])
def test_what_is_no_page_is_not_found(page: str) -> None:
    with pytest.raises(NotFound) as refused:
        PageRequest.of({"page": page})
    assert refused.value.body() == {"detail": "Invalid page."}


def _answer(number: int, count: int, **parameters: str) -> dict[str, Any]:
    page = Page(PageRequest(number, 10), number, count, [])
    result: dict[str, Any] = orjson.loads(page.answer(request(), parameters, []).body)
    return result


def test_neighbours_are_absolute_and_sorted() -> None:
    answer = _answer(2, 25, page="2", ordering="-a", b="x y")
    base = "http://api.test:8000/org-1/function/"
    assert answer["next"] == f"{base}?b=x+y&ordering=-a&page=3"
    assert answer["previous"] == f"{base}?b=x+y&ordering=-a"
    assert answer["count"] == 25


def test_ends_have_no_neighbour() -> None:
    assert _answer(3, 25)["next"] is None
    assert _answer(1, 10)["next"] is None
    assert _answer(1, 0)["previous"] is None


def test_forwarded_headers_count_only_behind_trusted_proxies() -> None:
    headers = {
        "x-forwarded-host": "public.test",
        "x-forwarded-proto": "https",
        "x-forwarded-for": "1.1.1.1, 2.2.2.2",
    }
    plain, trusted = request(headers=headers), request(headers=headers, trusted=1)
    assert base_address(plain) == "http://api.test:8000/org-1"
    assert client_address(plain) == "10.0.0.9"
    assert base_address(trusted) == "https://public.test/org-1"
    assert client_address(trusted) == "2.2.2.2"
    assert client_address(request(headers=headers, trusted=2)) == "1.1.1.1"
    assert client_address(request(headers=headers, trusted=5)) == "10.0.0.9"


@pytest.mark.parametrize("host", ["evil.test/x", "a b", "x@y", "", "h:1234567"])
def test_impossible_host_is_replaced_by_the_configured_domain(host: str) -> None:
    assert base_address(request(headers={"host": host})) == "http://default/org-1"


def test_addresses_are_built_from_kind_and_key() -> None:
    key = UUID(int=1)
    base = base_address(request())
    expected = f"http://api.test:8000/org-1/model/{key}/file/"
    assert asset_address(base, "model", key, "file") == expected
    assert request_address(request(root="")) == "http://api.test:8000/function/"


def test_dates_on_the_wire() -> None:
    moments = [
        datetime(2021, 11, 4, 13, 54, 9, 882662, tzinfo=UTC),
        datetime(2031, 5, 1, tzinfo=UTC),
        datetime(2031, 5, 1, 2, tzinfo=timezone(timedelta(hours=2))).astimezone(UTC),
    ]
    assert orjson.loads(dumps(moments)) == [
        "2021-11-04T13:54:09.882662Z",
        "2031-05-01T00:00:00Z",
        "2031-05-01T00:00:00Z",
    ]
    assert dumps({"perf": float("nan")}) == b'{"perf":null}'
