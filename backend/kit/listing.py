"""A list route's query: built anew when it is filtered, compiled once for each ordering when it is not.

Unfiltered lists are what is polled, and what the SDK walks through page by page.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Integer, Select, bindparam
from sqlmodel import Session

from backend.kit.filters import Column, Conditions, ordered_by
from backend.kit.page_query import Shown, page_query
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
        along: the order in which filtered rows are counted (`Shown`).
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
        along: Sequence[Column] = (),
    ) -> None:
        self._door = door
        self._filters = filters
        self._fields = fields
        self._default = default
        self._key = key
        self._shown = Shown(door, key, along=along)
        self._counted = Shown(door, key, counted)
        self._statement = lru_cache(KEPT)(self._compiled)

    def _compiled(self, ordering: str) -> Statement:
        order = ordered_by({"ordering": ordering}, self._fields, self._default, self._key)
        size, offset = bindparam("limit", type_=Integer), bindparam("offset", type_=Integer)
        return Statement(page_query(self._door, order, size, offset, self._counted))

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
        if plain and request.offset is not None:
            values = {**bound, "limit": request.size, "offset": request.offset}
            return request.of_rows(self._statement(",".join(named)).rows(connection, values))
        order = ordered_by(
            parameters, {**self._fields, **(more_fields or {})}, self._default, self._key
        )
        shown = self._shown if conditions else self._counted
        query = self._door.where(*conditions)
        asked = page_query(query, order, request.size, request.offset, shown).params(bound)
        return request.of_rows(connection.execute(asked).all())

    def _is_known(self, name: str) -> bool:
        return name.removeprefix("-") in self._fields
