"""All SQL of the news: nothing is kept for it, every item is a date of a plan or of a data manager."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlmodel import Session

from backend.access.visibility import visible
from backend.assets.compute_plans.tables import ComputePlan
from backend.assets.data_managers.tables import DataManager
from backend.kit.columns import core
from backend.kit.filters import Column, Conditions, moment
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters

plans, managers = core(ComputePlan).c, core(DataManager).c

PLAN, DATA_MANAGER = "ASSET_COMPUTE_PLAN", "ASSET_DATA_MANAGER"
CREATED, STARTED, ENDED = 0, 1, 2  # of one moment, the later step of a plan is the newer item


def _items(
    asset: Any, kind: str, step: int, timestamp: Column, status: Column, failed: Any = None
) -> Select[Any]:
    return select(
        literal(kind).label("asset_kind"),
        asset.key.label("asset_key"),
        asset.name.label("name"),
        status.label("status"),
        timestamp.label("timestamp"),
        (null() if failed is None else failed).label("failed_task_key"),
        literal(step).label("step"),
    )


def _ends(conditions: list[ColumnElement[bool]]) -> Select[Any]:
    status = func.replace(plans.status, "PLAN_", "")
    items = _items(plans, PLAN, ENDED, plans.end_date, status, plans.failed_task_key)
    return items.where(plans.end_date.is_not(None), *conditions)


def news_of(channel: str, parameters: Parameters) -> Select[Any]:
    """The one door to news: those of a channel, within the bounds that the caller gives.

    Raises:
        Invalid: a bound is no moment (400).
    """
    of_plans = visible(plans, channel)
    parts = [_ends([of_plans, *_within(parameters, plans.end_date)])]
    if parameters.get("important_news_only") != "true":
        created, started = literal("STATUS_CREATED"), literal("STATUS_DOING")
        parts += [
            _items(plans, PLAN, CREATED, plans.creation_date, created).where(
                of_plans, *_within(parameters, plans.creation_date)
            ),
            _items(plans, PLAN, STARTED, plans.start_date, started).where(
                of_plans, plans.start_date.is_not(None), *_within(parameters, plans.start_date)
            ),
            _items(managers, DATA_MANAGER, CREATED, managers.creation_date, created).where(
                visible(managers, channel), *_within(parameters, managers.creation_date)
            ),
        ]
    return select(union_all(*parts).subquery("news"))


def _within(parameters: Parameters, column: Column) -> Conditions:
    """`timestamp_after` is inclusive, `timestamp_before` is not."""
    conditions: Conditions = []
    if after := parameters.get("timestamp_after", "").strip():
        conditions.append(column >= moment("timestamp", after))
    if before := parameters.get("timestamp_before", "").strip():
        conditions.append(column < moment("timestamp", before))
    return conditions


def page(
    connection: Session | Connection, channel: str, parameters: Parameters, request: PageRequest
) -> Page:
    """One page of the news of a channel, newest first."""
    query = news_of(channel, parameters)
    news = query.selected_columns
    order = [news.timestamp.desc(), news.step.desc(), news.asset_key]
    return request.rows(connection, query, order)


def wire(row: Row[Any]) -> dict[str, Any]:
    """An item as clients see it; only failures have a detail."""
    detail = {}
    if row.failed_task_key is not None:
        detail["first_failed_task_key"] = row.failed_task_key
    return {
        "asset_kind": row.asset_kind,
        "asset_key": row.asset_key,
        "name": row.name,
        "status": row.status,
        "timestamp": row.timestamp,
        "detail": detail,
    }
