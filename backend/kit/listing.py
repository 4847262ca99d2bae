"""A list route's query: built anew when it is filtered, compiled once for each ordering when it is not.

Unfiltered lists are what is polled, and what the SDK walks through page by page. Their statement also counts,
so that a page is one query.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func
from sqlmodel import Session

from backend.kit.errors import NotFound
from backend.kit.filters import Column, Conditions, ordered_by
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters, listed
from backend.kit.statements import Statement

LONGEST_ORDERING = 3  # fields; longer ones are not kept
KEPT = 64


class Listing:
    """What a list shows, and how it may be filtered and ordered.

    Args:
        door: a SELECT with `bindparam`s (`channel`, and what `page` is given as `bound`).
        filters: the conditions for a request's parameters; raises Invalid (400).
        fields: what `ordering` may name.
        default: the order without it.
        key: breaks ties.
        counted: a SELECT of one number with the same parameters, where counting rows would be dearer.
    """

    def __init__(
        self,
        door: Select[Any],
        *,
        filters: Callable[[Parameters], Conditions],
        fields: Mapping[str, Column],
        default: list[Column],
        key: Column,
        counted: Select[Any] | None = None,
    ) -> None:
        self._door = door
        self._filters = filters
        self._fields = fields
        self._default = default
        self._key = key
        count = counted if counted is not None else _count_of(door)
        self._total = count.correlate(None).scalar_subquery().label("total")
        self._statement = lru_cache(KEPT)(self._compiled)

    def _compiled(self, ordering: str) -> Statement:
        order = ordered_by({"ordering": ordering}, self._fields, self._default, self._key)
        query = self._door.add_columns(self._total).order_by(*order)
        return Statement(query.limit(bindparam("limit")).offset(bindparam("offset")))

    def page(
        self,
        connection: Connection | Session,
        parameters: Parameters,
        request: PageRequest,
        *,
        more_fields: Mapping[str, Column] | None = None,
        **bound: str,
    ) -> Page:
        """One page; `more_fields` are orderings that only this request knows.

        Raises:
            Invalid: a malformed filter (400). NotFound: the page lies beyond the end (404).
        """
        conditions = self._filters(parameters)
        named = [name for name in listed(parameters, "ordering") if self._is_known(name)]
        plain = not (conditions or more_fields or len(named) > LONGEST_ORDERING)
        if plain and request.number is not None:
            return self._plain_page(connection, ",".join(named), request, request.number, bound)
        fields = {**self._fields, **(more_fields or {})}
        order = ordered_by(parameters, fields, self._default, self._key)
        query = self._door.where(*conditions).params(bound)
        return request.rows(connection, query, order)

    def _is_known(self, name: str) -> bool:
        return name.removeprefix("-") in self._fields

    def _plain_page(
        self,
        connection: Connection | Session,
        ordering: str,
        request: PageRequest,
        number: int,
        bound: Mapping[str, str],
    ) -> Page:
        offset = min((number - 1) * request.size, 2**62)
        values = {**bound, "limit": request.size, "offset": offset}
        rows = self._statement(ordering).rows(connection, values)
        if not rows and number > 1:
            raise NotFound("Invalid page.")
        return Page(request, number, rows[0].total if rows else 0, rows)


def _count_of(door: Select[Any]) -> Select[Any]:
    return door.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
