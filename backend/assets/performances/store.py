"""All reading of performances."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    Connection,
    Integer,
    Row,
    Select,
    Text,
    case,
    cast,
    exists,
    func,
    select,
    tuple_,
)
from sqlmodel import Session

from backend.access.visibility import visible
from backend.assets.compute_plans import store as plan_store
from backend.assets.compute_plans.states import PlanStatus
from backend.assets.compute_plans.tables import ComputePlan
from backend.assets.performances.tables import Performance
from backend.assets.tasks.tables import ComputeTask
from backend.kit.columns import core
from backend.kit.filters import (
    Conditions,
    choices_in,
    dates_between,
    matching,
    metadata_holding,
    numbers_between,
    ordered_by,
    texts_in,
    uuids_in,
)
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters

performances, tasks, plans = core(Performance).c, core(ComputeTask).c, core(ComputePlan).c

ROUND = tasks.metadata.op("->>", return_type=Text())("round_idx")
ROUND_NUMBER = case((ROUND.regexp_match(r"^-?\d{1,9}$"), cast(ROUND, Integer)), else_=None)
_OF_TASK = "compute_task_output__task__"
BATCH = 1000  # rows of a cursor


def of_plan(
    connection: Session | Connection, channel: str, plan: UUID, parameters: Parameters
) -> list[Row[Any]]:
    """Every performance of a plan with what its task tells; by rank and worker unless told otherwise."""
    query = (
        select(
            performances.compute_task_key,
            performances.identifier,
            performances.value,
            tasks.function_key,
            tasks["rank"],
            tasks.worker,
            ROUND.label("round_idx"),
        )
        .join_from(core(Performance), core(ComputeTask), tasks.key == performances.compute_task_key)
        .where(performances.compute_plan_key == plan, visible(performances, channel))
    )
    fields = {
        f"{_OF_TASK}rank": tasks["rank"],
        f"{_OF_TASK}worker": tasks.worker,
        f"{_OF_TASK}metadata__round_idx": ROUND,
    }
    order = ordered_by(parameters, fields, [tasks["rank"], tasks.worker], tasks.key)
    return list(connection.execute(query.order_by(*order, performances.identifier)).all())


def _distinct(expression: Any, plan: UUID, channel: str) -> Any:
    found = func.array_agg(expression.distinct()).filter(expression.is_not(None))
    of_plan = tasks.compute_plan_key == plan
    return select(found).where(of_plan, visible(tasks, channel)).scalar_subquery()


def ranks_and_rounds(
    connection: Session | Connection, channel: str, plan: UUID
) -> tuple[list[int], list[str]] | None:
    """The distinct ranks and rounds of a plan's tasks, ascending; None when there is no such plan."""
    query = select(
        _distinct(tasks["rank"], plan, channel).label("ranks"),
        _distinct(ROUND, plan, channel).label("rounds"),
    ).where(exists(select(plans.key).where(plans.key == plan, visible(plans, channel))))
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return sorted(row.ranks or []), sorted(row.rounds or [], key=_numerically)


def _numerically(text: str) -> tuple[int, str]:
    return (len(text) if text.isdecimal() else 0, text)


def selected(channel: str, keys: Iterable[str]) -> Select[Any]:
    """Some performances of a channel, by keys `<task>|<output identifier>`."""
    pairs = [(UUID(task), identifier) for task, _, identifier in (k.partition("|") for k in keys)]
    return select(
        cast(performances.compute_task_key, Text).label("compute_task_key"),
        performances.identifier,
        performances.channel,
        performances.creation_date,
        cast(performances.value, Text).label("value_text"),
    ).where(
        visible(performances, channel),
        tuple_(performances.compute_task_key, performances.identifier).in_(pairs),
    )


def wire(row: Any) -> dict[str, Any]:
    """A row of `selected` as clients see it among the assets of a task (rest-api.md 12.4)."""
    return {
        "channel": row.channel,
        "compute_task_key": row.compute_task_key,
        "creation_date": row.creation_date,
        "compute_task_output_identifier": row.identifier,
        "performance_value": float(row.value_text),
    }


def _listed(channel: str) -> Select[Any]:
    return (
        select(
            performances.compute_plan_key,
            plans.name.label("compute_plan_name"),
            plans.tag.label("compute_plan_tag"),
            plans.status.label("compute_plan_status"),
            plans.start_date.label("compute_plan_start_date"),
            plans.end_date.label("compute_plan_end_date"),
            cast(plans.metadata, Text).label("compute_plan_metadata"),
            tasks.worker,
            tasks["rank"].label("task_rank"),
            ROUND_NUMBER.label("task_round"),
            performances.identifier,
            performances.value.label("performance"),
        )
        .join_from(core(Performance), core(ComputeTask), tasks.key == performances.compute_task_key)
        .join(core(ComputePlan), plans.key == performances.compute_plan_key)
        .where(visible(performances, channel))
    )


def conditions(parameters: Parameters) -> Conditions:
    """The filters of `/performance/`: on the plan, and on the output's identifier (rest-api.md 14.2).

    Raises:
        Invalid: a malformed value (400).
    """
    return [
        *uuids_in(parameters, "key", plans.key),
        *texts_in(parameters, "owner", plans.owner),
        *choices_in(parameters, "status", plans.status, [*PlanStatus, "PLAN_STATUS_UNKNOWN"]),
        *dates_between(parameters, "creation_date", plans.creation_date),
        *dates_between(parameters, "start_date", plans.start_date),
        *dates_between(parameters, "end_date", plans.end_date),
        *numbers_between(parameters, "duration", plan_store.DURATION),
        *texts_in(parameters, "creator", plan_store.CREATOR_NAME),
        *texts_in(parameters, "identifier", performances.identifier),
        *metadata_holding(parameters, plans.metadata),
        *matching(parameters, [plans.key, plans.name]),
    ]


def _ordered(parameters: Parameters) -> Sequence[Any]:
    fields = {"task_rank": tasks["rank"], "task_round": ROUND_NUMBER, "worker": tasks.worker}
    order = ordered_by(parameters, fields, list(fields.values()), performances.compute_task_key)
    return [*order, performances.identifier]


def page(
    connection: Session | Connection, channel: str, parameters: Parameters, request: PageRequest
) -> Page:
    """One page of the performances of a channel."""
    query = _listed(channel).where(*conditions(parameters))
    return request.rows(connection, query, _ordered(parameters))


def every(session: Session, channel: str, parameters: Parameters) -> Iterator[Row[Any]]:
    """All performances of a channel that the filters leave, fetched from a cursor as they are read."""
    query = _listed(channel).where(*conditions(parameters)).order_by(*_ordered(parameters))
    yield from session.execute(query.execution_options(yield_per=BATCH))


def listed(row: Row[Any]) -> dict[str, Any]:
    """A row of `page` in its wire form."""
    return {
        **row._mapping,
        "compute_plan_metadata": orjson.Fragment(row.compute_plan_metadata),
    }
