"""The life of a compute task as the ledger tells it: pure rules, no session and no clock.

A status only moves forward in the order of the state machine (rule 4): an event that comes again, or late,
changes nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class TaskStatus(StrEnum):
    """Wire values (rest-api.md 7)."""

    WAITING_FOR_BUILDER_SLOT = "STATUS_WAITING_FOR_BUILDER_SLOT"
    BUILDING = "STATUS_BUILDING"
    WAITING_FOR_PARENT_TASKS = "STATUS_WAITING_FOR_PARENT_TASKS"
    WAITING_FOR_EXECUTOR_SLOT = "STATUS_WAITING_FOR_EXECUTOR_SLOT"
    EXECUTING = "STATUS_EXECUTING"
    DONE = "STATUS_DONE"
    CANCELED = "STATUS_CANCELED"
    FAILED = "STATUS_FAILED"


FINAL = frozenset({TaskStatus.DONE, TaskStatus.CANCELED, TaskStatus.FAILED})

_ORDER = {
    TaskStatus.WAITING_FOR_BUILDER_SLOT: 1,
    TaskStatus.BUILDING: 2,
    TaskStatus.WAITING_FOR_PARENT_TASKS: 3,
    TaskStatus.WAITING_FOR_EXECUTOR_SLOT: 4,
    TaskStatus.EXECUTING: 5,
    TaskStatus.DONE: 6,
    TaskStatus.CANCELED: 6,
    TaskStatus.FAILED: 6,
}


def is_forward(present: TaskStatus, new: TaskStatus) -> bool:
    """True when `new` lies after `present`; final statuses never change into each other."""
    return _ORDER[new] > _ORDER[present]


@dataclass(frozen=True, slots=True)
class TaskState:
    """The changing part of a task, with what tells where it belongs."""

    key: UUID
    compute_plan: UUID
    function: UUID
    owner: str
    worker: str
    rank: int
    status: TaskStatus
    start_date: datetime | None = None
    end_date: datetime | None = None


def moved(task: TaskState, status: TaskStatus, moment: datetime) -> TaskState:
    """The task after an event with this status.

    The first EXECUTING event sets the start, the first final one the end, also when the status itself was
    known before (this server's own registration may have been faster than the event).
    """
    start, end = task.start_date, task.end_date
    if status is TaskStatus.EXECUTING and start is None:
        start = moment
    if status in FINAL and end is None:
        end = moment
    new = status if is_forward(task.status, status) else task.status
    if (new, start, end) == (task.status, task.start_date, task.end_date):
        return task
    return replace(task, status=new, start_date=start, end_date=end)
