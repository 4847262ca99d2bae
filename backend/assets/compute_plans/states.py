"""The status of a compute plan, derived from its tasks (rest-api.md 21.4): pure rules.

The ledger keeps no status of plans and emits no event when one fails (orchestrator.md 17.4). Everything here
depends only on what happened, not on the order or the batches in which this organization heard of it, so that
all organizations show the same dates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

TASK_STATUSES: Final[dict[str, str]] = {
    "STATUS_WAITING_FOR_BUILDER_SLOT": "waiting_builder_slot_count",
    "STATUS_BUILDING": "building_count",
    "STATUS_WAITING_FOR_PARENT_TASKS": "waiting_parent_tasks_count",
    "STATUS_WAITING_FOR_EXECUTOR_SLOT": "waiting_executor_slot_count",
    "STATUS_EXECUTING": "executing_count",
    "STATUS_DONE": "done_count",
    "STATUS_CANCELED": "canceled_count",
    "STATUS_FAILED": "failed_count",
}
"""The count of a plan in which a task of each status stands; also the plan's fields on the wire."""

COUNTS: Final[tuple[str, ...]] = tuple(TASK_STATUSES.values())
ENDED: Final[tuple[str, ...]] = ("done_count", "canceled_count", "failed_count")


class PlanStatus(StrEnum):
    CREATED = "PLAN_STATUS_CREATED"
    DOING = "PLAN_STATUS_DOING"
    DONE = "PLAN_STATUS_DONE"
    CANCELED = "PLAN_STATUS_CANCELED"
    FAILED = "PLAN_STATUS_FAILED"


def plan_status(counts: Mapping[str, int], *, canceled: bool) -> PlanStatus:
    """First match wins; `canceled` says whether the plan has a cancelation date."""
    total = sum(counts.values())
    if canceled or counts["canceled_count"]:
        return PlanStatus.CANCELED
    if total == counts["waiting_builder_slot_count"]:  # also without any task
        return PlanStatus.CREATED
    if total == counts["done_count"]:
        return PlanStatus.DONE
    if counts["failed_count"]:
        return PlanStatus.FAILED
    return PlanStatus.DOING


def plan_end_date(
    counts: Mapping[str, int], cancelation_date: datetime | None, last_task_end: datetime | None
) -> datetime | None:
    """When the plan ended, or None while it goes on. Tasks added to a finished plan take the date away."""
    if cancelation_date is not None:
        return cancelation_date
    unfinished = sum(counts.values()) - sum(counts[name] for name in ENDED)
    if unfinished and not counts["failed_count"] and not counts["canceled_count"]:
        return None
    return last_task_end


@dataclass(slots=True)
class PlanChange:
    """What a batch changes in one plan.

    `first_move` is the earliest moment at which something of the plan was no longer waiting for the builder;
    it gives the plan's start. `name` is a new name, `canceled` the moment of a cancelation.
    """

    counts: dict[str, int] = field(default_factory=dict)
    name: str | None = None
    canceled: datetime | None = None
    first_move: datetime | None = None
    last_end: datetime | None = None


@dataclass(slots=True)
class PlanChanges:
    """The changes of a batch, by plan."""

    plans: dict[UUID, PlanChange] = field(default_factory=dict)

    def touch(self, plan: UUID) -> PlanChange:
        return self.plans.setdefault(plan, PlanChange())

    def task(
        self, plan: UUID, before: str | None, after: str, ended: datetime | None = None
    ) -> None:
        """A task of the plan went from one status to another (`before` is None for a new task).

        `ended` is the task's end date, when it has one.
        """
        change = self.touch(plan)
        if before != after:
            if before is not None:
                change.counts[TASK_STATUSES[before]] = (
                    change.counts.get(TASK_STATUSES[before], 0) - 1
                )
            change.counts[TASK_STATUSES[after]] = change.counts.get(TASK_STATUSES[after], 0) + 1
        change.last_end = latest(change.last_end, ended)

    def seen(self, plan: UUID, status: str, moment: datetime) -> None:
        """An event showed a task of the plan in this status at this moment."""
        change = self.touch(plan)
        if status != "STATUS_WAITING_FOR_BUILDER_SLOT":
            change.first_move = earliest(change.first_move, moment)


def earliest(a: datetime | None, b: datetime | None) -> datetime | None:
    return min(a, b) if a and b else a or b


def latest(a: datetime | None, b: datetime | None) -> datetime | None:
    return max(a, b) if a and b else a or b
