"""One page of a list and the number of all that it has, as one query.

    WITH page AS MATERIALIZED (SELECT key, <order> ... WHERE <filters> ORDER BY ... LIMIT ... OFFSET ...)
    SELECT <what is shown>, <how many there are> FROM <table> JOIN page ... ORDER BY <order>

Rows are found by what indexes hold and read afterwards: a row of a task is two kilobytes, and a page of thirty
on its way through ten thousand looks at thirty of them. How many there are is counted only where the page does
not tell: one that is not full is the last, so its own rows and those before it are all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    UnaryExpression,
    case,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.sql.operators import asc_op, desc_op

Number = int | BindParameter[int]
TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Shown:
    """Rows that are found first and read after.

    `door`: a SELECT of all that is shown. `key`: its primary key. `counted`: a SELECT of one number, the count
    of all rows, where counting them would be dearer. `along`: an order in which filtered rows are counted, so
    that an index is read: of a narrow table PostgreSQL would rather read all, other channels' rows among it.
    """

    door: Select[Any]
    key: Any
    counted: Select[Any] | None = None
    along: Sequence[Any] = ()


def page_query(
    query: Select[Any],
    order: Sequence[Any],
    size: Number,
    offset: Number | None,
    shown: Shown | None = None,
) -> Select[Any]:
    """`size` rows from `offset` on (None: the last page), each with the count of all in `total`.

    `query`: the filtered rows; with `shown` only its conditions and joins matter.
    """
    everything = _counted(query, shown)
    start = _start_of_last(everything, size) if offset is None else offset
    places = [_expression(entry).label(f"place_{n}") for n, entry in enumerate(order)]
    if shown is None:
        rows = query.add_columns(*places)
    else:
        rows = query.with_only_columns(
            shown.key.label("found"), *places, maintain_column_froms=True
        )
    page = rows.order_by(*order).limit(size).offset(start).cte("page").prefix_with("MATERIALIZED")
    total = _total(page, everything, size, offset).label(TOTAL)
    if shown is None:
        answer = select(*(page.c[str(column.key)] for column in query.selected_columns), total)
    else:
        answer = shown.door.join(page, page.c.found == shown.key).add_columns(total)
    return answer.order_by(*(_along(entry, page.c[f"place_{n}"]) for n, entry in enumerate(order)))


def _counted(query: Select[Any], shown: Shown | None) -> ColumnElement[int]:
    """A scalar subquery, which PostgreSQL runs when its value is asked for and not before."""
    if shown is not None and shown.counted is not None:
        counted = shown.counted
    elif shown is not None and shown.along:
        keys = query.with_only_columns(shown.key, maintain_column_froms=True)
        counted = select(func.count()).select_from(keys.order_by(*shown.along).subquery())
    elif query._distinct or query._group_by_clauses:
        counted = select(func.count()).select_from(query.order_by(None).subquery())
    else:
        counted = query.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    return select(counted.correlate(None).cte("counted").c[0]).scalar_subquery()


def _start_of_last(everything: ColumnElement[int], size: Number) -> ColumnElement[int]:
    whole_pages = cast(func.greatest(everything - 1, 0), BigInteger) // size
    start: ColumnElement[int] = select(whole_pages * size).scalar_subquery()
    return start


def _total(
    page: CTE, everything: ColumnElement[int], size: Number, offset: Number | None
) -> ColumnElement[int]:
    if offset is None:
        return everything
    found = select(func.count()).select_from(page).scalar_subquery()
    before = literal(offset) if isinstance(offset, int) else offset
    return case((found < size, before + found), else_=everything)


def _expression(entry: Any) -> ColumnElement[Any]:
    """What is ordered by, without its direction."""
    directed = isinstance(entry, UnaryExpression) and entry.modifier in (asc_op, desc_op)
    expression: ColumnElement[Any] = entry.element if directed else entry
    return expression


def _along(entry: Any, column: ColumnElement[Any]) -> ColumnElement[Any]:
    down = isinstance(entry, UnaryExpression) and entry.modifier is desc_op
    return column.desc() if down else column.asc()
