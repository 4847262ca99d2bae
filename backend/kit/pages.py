"""Pages of a list (rest-api.md 6.1): reading `page` and `page_size`, and the answer in bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

from fastapi import Request
from sqlalchemy import Connection, Row, Select
from sqlmodel import Session

from backend.kit.addresses import request_address
from backend.kit.answers import JsonAnswer, polled
from backend.kit.errors import NotFound
from backend.kit.page_query import Shown, page_query
from backend.kit.parameters import Parameters

DEFAULT_SIZE = 100


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page somebody asks for. `number` is 1-based, None is the last one."""

    number: int | None
    size: int

    @classmethod
    def of(
        cls, parameters: Parameters, *, default: int = DEFAULT_SIZE, maximum: int = 10_000
    ) -> Self:
        """Read `page` and `page_size`; a useless size silently means the default, a large one is clamped.

        Raises:
            NotFound: `page` is neither `last` nor a positive number (404 "Invalid page.").
        """
        size = _positive(parameters.get("page_size", ""))
        page = parameters.get("page", "1")
        number = None if page == "last" else _positive(page)
        if number is None and page != "last":
            raise NotFound("Invalid page.")
        return cls(number, min(size or default, maximum))

    def rows(
        self,
        connection: Session | Connection,
        query: Select[Any],
        order: Sequence[Any],
        shown: Shown | None = None,
    ) -> "Page":
        """The page's rows and the count over the filtered set, in one query (`page_query`).

        Raises:
            NotFound: the page lies beyond the end (404 "Invalid page."); page 1 of nothing is fine.
        """
        asked = page_query(query, order, self.size, self.offset, shown)
        return self.of_rows(connection.execute(asked).all())

    @property
    def offset(self) -> int | None:
        """Of the first row; None for the last page."""
        return None if self.number is None else min((self.number - 1) * self.size, 2**62)

    def of_rows(self, rows: Sequence[Any]) -> "Page":
        """The page whose rows a query gave: each says how many there are in `total`.

        Raises:
            NotFound: no rows, and not the first page (404 "Invalid page.").
        """
        count = rows[0].total if rows else 0
        number = max(1, -(-count // self.size)) if self.number is None else self.number
        if not rows and number > 1:
            raise NotFound("Invalid page.")
        return Page(self, number, count, rows)


def _positive(value: str) -> int | None:
    value = value.strip()
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        return None
    return int(value) or None


@dataclass(frozen=True, slots=True)
class Page:
    """The rows found, and what the answer needs beside them."""

    request: PageRequest
    number: int
    count: int
    rows: Sequence[Row[Any]]

    def answer(self, request: Request, parameters: Parameters, results: list[Any]) -> JsonAnswer:
        """`{"count", "next", "previous", "results"}` with absolute URLs on the host the client used."""
        more = self.number * self.request.size < self.count
        following = _address(request, parameters, self.number + 1) if more else None
        before = _address(request, parameters, self.number - 1) if self.number > 1 else None
        return polled(
            request,
            {"count": self.count, "next": following, "previous": before, "results": results},
        )


def _address(request: Request, parameters: Mapping[str, str], number: int) -> str:
    """All parameters again, sorted by name, with `page` replaced; page 1 goes without."""
    repeated = {name: value for name, value in parameters.items() if name != "page"}
    if number > 1:
        repeated["page"] = str(number)
    query = urlencode(sorted(repeated.items()))
    return request_address(request) + (f"?{query}" if query else "")
