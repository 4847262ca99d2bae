"""What the ledger's events do to compute plans.

`apply` inserts plans; `settle`, at the end of a batch, renames and cancels them, adds what the batch changed in
the tasks to their counts and derives status and dates anew, under the locks of the plans' rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlmodel import Session

from backend.assets.compute_plans.states import (
    COUNTS,
    PlanChange,
    PlanChanges,
    PlanStatus,
    earliest,
    latest,
    plan_end_date,
    plan_status,
)
from backend.assets.compute_plans.tables import ComputePlan
from backend.kit.bulk import insert_rows, update_rows
from protos.orchestrator import computeplan_pb2, event_pb2

log = structlog.get_logger()


@dataclass(slots=True)
class Settled:
    """Plans that the batch touched and that are canceled (have a cancelation date) or FAILED now."""

    canceled: list[UUID] = field(default_factory=list)
    failed: list[UUID] = field(default_factory=list)


def apply(
    session: Session, channel: str, events: Sequence[event_pb2.Event], changes: PlanChanges
) -> None:
    """COMPUTE_PLAN events: insert; new names and cancelations wait for `settle`.

    A plan's row is locked by `settle` only, after all rows of tasks: whoever registers tasks does it in the
    same order.
    """
    register(session, channel, [event.compute_plan for event in events])
    for event in events:
        if event.event_kind == event_pb2.EVENT_ASSET_UPDATED:
            plan = event.compute_plan
            change = changes.touch(UUID(plan.key))
            change.name = plan.name
            if plan.HasField("cancelation_date"):
                change.canceled = plan.cancelation_date.ToDatetime(UTC)


def register(
    session: Session, channel: str, plans: Sequence[computeplan_pb2.ComputePlan]
) -> list[UUID]:
    """Insert plans that are not known yet, in the ledger's form (an event's or a registration's answer)."""
    first = {plan.key: plan for plan in reversed(plans)}
    rows = [_row(channel, first[key]) for key in sorted(first)]
    return insert_rows(session, ComputePlan, rows)


def _row(channel: str, plan: computeplan_pb2.ComputePlan) -> dict[str, Any]:
    return {
        "key": plan.key,
        "channel": channel,
        "owner": plan.owner,
        "name": plan.name,
        "tag": plan.tag,
        "status": PlanStatus.CREATED,
        "creation_date": plan.creation_date.ToDatetime(UTC),
        "metadata": dict(plan.metadata),
    } | dict.fromkeys(COUNTS, 0)


def settle(session: Session, changes: PlanChanges) -> Settled:
    """Bring the plans that a batch touched up to date. Call it once, last in the transaction.

    Locks the plans' rows in key order; its cost does not depend on how many tasks a plan has.
    """
    settled = Settled()
    if not changes.plans:
        return settled
    rows = session.connection().execute(
        text("SELECT * FROM compute_plan WHERE key = ANY(:keys) ORDER BY key FOR UPDATE"),
        {"keys": list(changes.plans)},
    )
    updates = []
    for row in rows.mappings():
        update = _settled(dict(row), changes.plans[row["key"]])
        if update["status"] == PlanStatus.FAILED:
            settled.failed.append(row["key"])
        if update["cancelation_date"] is not None:
            settled.canceled.append(row["key"])
        if any(row[column] != value for column, value in update.items()):
            updates.append(update)
    update_rows(session, ComputePlan, updates)
    _record_first_failures(session, [u["key"] for u in updates if u["failed_count"]])
    return settled


def _settled(plan: dict[str, Any], change: PlanChange) -> dict[str, Any]:
    """The derived columns of a plan after a change."""
    counts = {name: plan[name] + change.counts.get(name, 0) for name in COUNTS}
    canceled: datetime | None = plan["cancelation_date"] or change.canceled
    last_end = latest(plan["last_task_end_date"], change.last_end)
    status = plan_status(counts, canceled=canceled is not None)
    return {
        "key": plan["key"],
        "name": plan["name"] if change.name is None else change.name,
        "cancelation_date": canceled,
        "status": status,
        "start_date": earliest(earliest(plan["start_date"], change.first_move), canceled),
        "end_date": plan_end_date(counts, canceled, last_end),
        "last_task_end_date": last_end,
        **counts,
    }


def _record_first_failures(session: Session, plans: Sequence[UUID]) -> None:
    """Note, once, the task that failed first, unless the plan had been canceled before."""
    if not plans:
        return
    session.connection().execute(
        text(
            """
            UPDATE compute_plan p
               SET failed_task_key = (
                     SELECT t.key FROM compute_task t
                      WHERE t.compute_plan_key = p.key AND t.status = 'STATUS_FAILED'
                        AND (p.cancelation_date IS NULL OR t.end_date < p.cancelation_date)
                      ORDER BY t.end_date, t.key LIMIT 1)
             WHERE p.key = ANY(:plans) AND p.failed_task_key IS NULL
            """
        ),
        {"plans": list(plans)},
    )
