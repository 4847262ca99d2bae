"""All reading of compute tasks: what a caller may see, as parts of JSON answers.

A page costs two queries whatever its size and its filters: the rows with inputs and outputs as JSON text that
is passed on unread, and the functions that they name. How many tasks there are stands in the plans' rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Row,
    Select,
    Text,
    case,
    cast,
    false,
    func,
    select,
)
from sqlmodel import Session

from backend.access.visibility import visible
from backend.assets.compute_plans.states import COUNTS
from backend.assets.compute_plans.tables import ComputePlan
from backend.assets.functions.tables import Function
from backend.assets.tasks.states import TaskStatus
from backend.assets.tasks.tables import ComputeTask, ComputeTaskMetadata
from backend.kit.columns import core
from backend.kit.filters import (
    Conditions,
    Entry,
    choices_in,
    dates_between,
    integers_in,
    matching,
    metadata_entries,
    numbers_between,
    texts_in,
    uuids_in,
)
from backend.kit.listing import Listing
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.kit.statements import CHANNEL, Statement, key_parameter

tasks, plans, functions = core(ComputeTask).c, core(ComputePlan).c, core(Function).c
metadata = core(ComputeTaskMetadata).c

DURATION = case(
    (tasks.start_date.is_(None), 0),
    else_=func.greatest(
        0,
        func.floor(
            func.extract("epoch", func.coalesce(tasks.end_date, func.now()) - tasks.start_date)
        ),
    ),
).cast(Integer)

ORDERING: dict[str, Any] = {
    "creation_date": tasks.creation_date,
    "start_date": tasks.start_date,
    "end_date": tasks.end_date,
    "key": tasks.key,
    "owner": tasks.owner,
    "rank": tasks.rank,
    "status": tasks.status,
    "function__name": functions.name,
    "tag": tasks.tag,
    "compute_plan_key": tasks.compute_plan_key,
    "duration": DURATION,
}

_ERROR_TYPES = {
    "ERROR_TYPE_BUILD": "BUILD_ERROR",
    "ERROR_TYPE_EXECUTION": "EXECUTION_ERROR",
}


_DOOR: Select[Any] = (
    select(
        cast(tasks.key, Text).label("key"),
        tasks.owner,
        tasks.worker,
        cast(tasks.compute_plan_key, Text).label("compute_plan_key"),
        cast(tasks.function_key, Text).label("function_key"),
        tasks.rank,
        tasks.status,
        tasks.tag,
        cast(tasks.metadata, Text).label("metadata_text"),
        tasks.creation_date,
        tasks.start_date,
        tasks.end_date,
        DURATION.label("duration"),
        tasks.error_type,
        tasks.logs_permission_public,
        tasks.logs_permission_authorized_ids,
        cast(tasks.inputs, Text).label("inputs_text"),
        cast(tasks.outputs, Text).label("outputs_text"),
    )
    .outerjoin(core(Function), functions.key == tasks.function_key)
    .where(visible(tasks, CHANNEL))
)
"""With the function, for who orders by its name: a join that is not asked for costs nothing."""
_ONE = Statement(_DOOR.where(tasks.key == key_parameter()))


def tasks_of(channel: str) -> Select[Any]:
    """The one door to tasks: those of a channel, with all columns of the answer."""
    return _DOOR.params(channel=channel)


def conditions(parameters: Parameters) -> Conditions:
    """The filters of task lists (rest-api.md 6.5).

    Raises:
        Invalid: a malformed value (400).
    """
    return [
        *uuids_in(parameters, "key", tasks.key),
        *texts_in(parameters, "owner", tasks.owner),
        *texts_in(parameters, "worker", tasks.worker),
        *texts_in(parameters, "tag", tasks.tag),
        *integers_in(parameters, "rank", tasks["rank"]),
        *uuids_in(parameters, "compute_plan_key", tasks.compute_plan_key),
        *uuids_in(parameters, "function_key", tasks.function_key),
        *choices_in(parameters, "status", tasks.status, [*TaskStatus, "STATUS_UNKNOWN"]),
        *dates_between(parameters, "creation_date", tasks.creation_date),
        *dates_between(parameters, "start_date", tasks.start_date),
        *dates_between(parameters, "end_date", tasks.end_date),
        *numbers_between(parameters, "duration", DURATION),
        *_holding(metadata_entries(parameters)),
        *matching(parameters, [tasks.key]),
    ]


def _holding(entries: list[Entry] | None) -> Conditions:
    """Looked up in the rows that repeat the metadata."""
    if entries is None:
        return [false()]
    conditions: Conditions = []
    for entry in entries:
        found = select(metadata.task_key).where(
            visible(metadata, CHANNEL), metadata.name == entry.key
        )
        if entry.type == "is":
            found = found.where(metadata.value == entry.value)
        elif entry.type == "contains":
            found = found.where(metadata.value.ilike(entry.pattern, escape="\\"))
        conditions.append(tasks.key.in_(found))
    return conditions


_OF_PLAN = key_parameter("plan")
_COUNTED = select(
    cast(func.coalesce(func.sum(sum(plans[name] for name in COUNTS)), 0), BigInteger)
).where(visible(plans, CHANNEL))
_LISTING: dict[str, Any] = {
    "filters": conditions,
    "fields": ORDERING,
    "default": [tasks.creation_date],
    "key": tasks.key,
}
_ALL = Listing(_DOOR, counted=_COUNTED, **_LISTING)
_PLANS = Listing(
    _DOOR.where(tasks.compute_plan_key == _OF_PLAN),
    counted=_COUNTED.where(plans.key == _OF_PLAN),
    **_LISTING,
)


def page(
    connection: Session | Connection,
    channel: str,
    parameters: Parameters,
    request: PageRequest,
    *,
    plan: UUID | None = None,
) -> Page:
    """One page of the tasks of a channel, or of one plan of it."""
    if plan is None:
        return _ALL.page(connection, parameters, request, channel=channel)
    return _PLANS.page(connection, parameters, request, channel=channel, plan=str(plan))


def find(connection: Session | Connection, channel: str, key: UUID) -> Row[Any] | None:
    """One task; None when the channel has no such task."""
    return _ONE.first(connection, {"channel": channel, "key": str(key)})


def by_keys(connection: Session | Connection, channel: str, keys: Sequence[UUID]) -> list[Row[Any]]:
    """Tasks in the order of `keys`; unknown ones are left out."""
    rows = connection.execute(tasks_of(channel).where(tasks.key.in_(keys))).all()
    found = {row.key: row for row in rows}
    return [found[str(key)] for key in keys if str(key) in found]


def wire(row: Row[Any], functions: Mapping[str, Any]) -> dict[str, Any]:
    """A task as clients see it (rest-api.md 12.1); `functions` holds the wire form of its function."""
    return {
        "key": row.key,
        "owner": row.owner,
        "worker": row.worker,
        "compute_plan_key": row.compute_plan_key,
        "function": functions.get(row.function_key),
        "rank": row.rank,
        "status": row.status,
        "tag": row.tag,
        "metadata": orjson.Fragment(row.metadata_text),
        "creation_date": row.creation_date,
        "start_date": row.start_date,
        "end_date": row.end_date,
        "duration": row.duration,
        "error_type": error_type(row.error_type),
        "logs_permission": {
            "public": row.logs_permission_public,
            "authorized_ids": row.logs_permission_authorized_ids,
        },
        "inputs": orjson.Fragment(row.inputs_text),
        "outputs": orjson.Fragment(row.outputs_text),
    }


def error_type(stored: str | None) -> str | None:
    """The REST name of the ledger's error type; an unknown one is shown as an internal error."""
    return None if stored is None else _ERROR_TYPES.get(stored, "INTERNAL_ERROR")
