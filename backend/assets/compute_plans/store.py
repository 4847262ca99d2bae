"""All reading of compute plans: what a caller may see, as parts of JSON answers.

Nothing here counts tasks: the counts stand in the plan's row.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Integer, Row, Select, Text, case, cast, exists, func, select
from sqlmodel import Session

from backend.access.users.tables import DELETED, EXTERNAL, User
from backend.access.visibility import visible
from backend.assets.compute_plans.states import COUNTS, PlanStatus
from backend.assets.compute_plans.tables import ComputePlan, ComputePlanCreator
from backend.assets.tasks.tables import ComputeTask, ComputeTaskInput
from backend.kit.clock import utc_now
from backend.kit.columns import core
from backend.kit.filters import (
    Conditions,
    choices_in,
    dates_between,
    matching,
    metadata_holding,
    numbers_between,
    texts_in,
    uuids_in,
)
from backend.kit.listing import Listing
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters, listed
from backend.kit.statements import CHANNEL, Statement, key_parameter

plans, creators = core(ComputePlan).c, core(ComputePlanCreator).c
tasks, inputs = core(ComputeTask).c, core(ComputeTaskInput).c
users = core(User).c

DURATION = case(
    (plans.start_date.is_(None), 0),
    else_=func.greatest(
        0,
        func.floor(
            func.extract(
                "epoch",
                func.coalesce(plans.end_date, func.now()) - plans.start_date,
            )
        ),
    ),
).cast(Integer)

CREATOR = case(
    (creators.user_id.is_(None), EXTERNAL),
    else_=func.coalesce(users.username, DELETED),
)

CREATOR_NAME = func.coalesce(
    select(func.coalesce(users.username, DELETED))
    .select_from(core(ComputePlanCreator).outerjoin(core(User), users.id == creators.user_id))
    .where(creators.compute_plan_key == plans.key)
    .scalar_subquery(),
    EXTERNAL,
)
"""The same without a join of the query's own, for filters of lists that do not show it."""

ORDERING: dict[str, Any] = {
    "creation_date": plans.creation_date,
    "start_date": plans.start_date,
    "end_date": plans.end_date,
    "key": plans.key,
    "owner": plans.owner,
    "status": plans.status,
    "tag": plans.tag,
    "name": plans.name,
    "duration": DURATION,
    "creator": CREATOR,
}
METADATA_FIELD = "metadata__"
_COUNTS_OF = attrgetter(*COUNTS)
ENDED = {PlanStatus.DONE, PlanStatus.FAILED, PlanStatus.CANCELED}


_DOOR: Select[Any] = (
    select(
        cast(plans.key, Text).label("key"),
        plans.owner,
        plans.name,
        plans.tag,
        plans.status,
        plans.creation_date,
        plans.start_date,
        plans.end_date,
        cast(plans.failed_task_key, Text).label("failed_task_key"),
        cast(plans.metadata, Text).label("metadata_text"),
        DURATION.label("duration"),
        CREATOR.label("creator"),
        *(plans[name] for name in COUNTS),
    )
    .outerjoin(ComputePlanCreator, creators.compute_plan_key == plans.key)
    .outerjoin(core(User), users.id == creators.user_id)
    .where(visible(plans, CHANNEL))
)
"""The one door to plans: those of a channel, with all columns of the answer."""
_ONE = Statement(_DOOR.where(plans.key == key_parameter()))


def conditions(parameters: Parameters) -> Conditions:
    """The filters of `/compute_plan/` (rest-api.md 6.5).

    Raises:
        Invalid: a malformed value (400).
    """
    return [
        *uuids_in(parameters, "key", plans.key),
        *texts_in(parameters, "owner", plans.owner),
        *texts_in(parameters, "tag", plans.tag),
        *texts_in(parameters, "name", plans.name),
        *choices_in(parameters, "status", plans.status, [*PlanStatus, "PLAN_STATUS_UNKNOWN"]),
        *dates_between(parameters, "creation_date", plans.creation_date),
        *dates_between(parameters, "start_date", plans.start_date),
        *dates_between(parameters, "end_date", plans.end_date),
        *numbers_between(parameters, "duration", DURATION),
        *texts_in(parameters, "creator", CREATOR),
        *metadata_holding(parameters, plans.metadata),
        *matching(parameters, [plans.key, plans.name]),
        *_having_task(uuids_in(parameters, "function_key", tasks.function_key)),
        *_having_task(texts_in(parameters, "worker", tasks.worker)),
        *_having_input(uuids_in(parameters, "dataset_key", inputs.asset_key)),
        *_having_input(uuids_in(parameters, "data_sample_key", inputs.asset_key)),
    ]


def _having_task(wanted: Conditions) -> Conditions:
    task = select(tasks.key).where(tasks.compute_plan_key == plans.key, *wanted)
    return [exists(task)] if wanted else []


def _having_input(wanted: Conditions) -> Conditions:
    task = (
        select(tasks.key)
        .join(core(ComputeTaskInput), inputs.task_key == tasks.key)
        .where(tasks.compute_plan_key == plans.key, *wanted)
    )
    return [exists(task)] if wanted else []


_LISTING = Listing(
    _DOOR,
    filters=conditions,
    fields=ORDERING,
    default=[plans.creation_date],
    key=plans.key,
    counted=select(func.count()).where(visible(plans, CHANNEL)),
)


def page(
    connection: Session | Connection, channel: str, parameters: Parameters, request: PageRequest
) -> Page:
    """One page of the plans of a channel."""
    fields: dict[str, Any] = {}
    for name in listed(parameters, "ordering"):
        key = name.removeprefix("-").removeprefix(METADATA_FIELD)
        if name.removeprefix("-").startswith(METADATA_FIELD) and key:
            fields[METADATA_FIELD + key] = plans.metadata.op("->>", return_type=Text())(key)
    return _LISTING.page(connection, parameters, request, more_fields=fields, channel=channel)


def find(connection: Session | Connection, channel: str, key: UUID) -> dict[str, Any] | None:
    """One plan in its wire form; None when the channel has no such plan."""
    row = _ONE.first(connection, {"channel": channel, "key": str(key)})
    return wire(row, utc_now()) if row is not None else None


def known(connection: Session | Connection, channel: str, keys: Sequence[UUID]) -> set[UUID]:
    """Those of `keys` that are plans of the channel."""
    query = select(plans.key).where(visible(plans, channel), plans.key.in_(keys))
    return set(connection.execute(query).scalars())


def metadata_keys(connection: Session | Connection, channel: str) -> list[str]:
    """The distinct metadata keys of a channel's plans, in the database's order of texts."""
    key = func.jsonb_object_keys(plans.metadata).label("key")
    query = select(key).where(visible(plans, channel)).distinct().order_by(key)
    return list(connection.execute(query).scalars())


def wire(row: Row[Any], now: datetime) -> dict[str, Any]:
    """A plan as clients see it (rest-api.md 11.1)."""
    counts = dict(zip(COUNTS, _COUNTS_OF(row), strict=True))
    plan = {
        "key": row.key,
        "tag": row.tag,
        "name": row.name,
        "owner": row.owner,
        "creator": row.creator,
        "metadata": orjson.Fragment(row.metadata_text),
        "status": row.status,
        "task_count": sum(counts.values()),
        **counts,
        "failed_task_key": row.failed_task_key,
        "creation_date": row.creation_date,
        "start_date": row.start_date,
        "end_date": row.end_date,
        "duration": row.duration,
        "delete_intermediary_models": False,
    }
    done = counts["done_count"]
    if row.status in ENDED:
        plan["estimated_end_date"] = row.end_date
    elif row.status == PlanStatus.DOING and done:
        plan["estimated_end_date"] = estimated_end(now, row.duration, done, plan["task_count"])
    return plan


def estimated_end(now: datetime, duration_s: int, done: int, total: int) -> datetime:
    """When a plan ends if its tasks go on taking as long as those that are done."""
    return now + (total - done) * timedelta(seconds=duration_s) / done
