"""What to do next with a task, a result or an answer of the ledger: pure rules, no session, no clock.

The caller loads the state, acts outside any transaction, and writes the outcome guarded by the lock token.
"""

import math
from collections.abc import Sequence
from enum import StrEnum

from backend.assets.compute_plans.states import PlanStatus
from backend.assets.tasks.states import FINAL, TaskStatus
from backend.engine.compute.queue import ATTEMPTS
from backend.engine.compute.tables import State

ENDED_PLANS = frozenset({PlanStatus.CANCELED, PlanStatus.FAILED})


class Prepare(StrEnum):
    OFFER = "offer"  # make its inputs local, then offer the lease
    CANCEL = "cancel"  # the plan ended: cancel the task on the ledger
    DROP = "drop"  # the task is final: nothing to do
    EARLY = "early"  # its parents are not done
    WAIT = "wait"  # its row is not there, or its function is not built, yet


def prepare(task: TaskStatus | None, plan: PlanStatus | None) -> Prepare:
    """What to do with work whose task and plan have these statuses (None: the row is not there yet)."""
    if task is None or plan is None:
        return Prepare.WAIT
    if task in FINAL:
        return Prepare.DROP
    if task is TaskStatus.WAITING_FOR_PARENT_TASKS:
        return Prepare.DROP if plan in ENDED_PLANS else Prepare.EARLY
    if plan in ENDED_PLANS:
        return Prepare.CANCEL
    if task in (TaskStatus.WAITING_FOR_EXECUTOR_SLOT, TaskStatus.EXECUTING):
        return Prepare.OFFER
    return Prepare.WAIT


class Verdict(StrEnum):
    ACCEPT = "accept"  # commit it as the task's one result
    REPEAT = "repeat"  # it is the result that we have: same answer again
    REFUSE = "refuse"  # the lease is somebody else's, or the task is over


def judge(state: State | None, current: str | None, recorded: str | None, given: str) -> Verdict:
    """What to do with a result that carries the lock token `given`.

    `state` and `current` are the work's state and lock token, `recorded` the token of the result in the
    outbox, if there is one. An expired lease (READY with the same token) is still the giver's (rule 9).
    """
    if recorded is not None:
        return Verdict.REPEAT if recorded == given else Verdict.REFUSE
    if state in (State.LEASED, State.READY, State.PREPARING) and current == given:
        return Verdict.ACCEPT
    if state in (State.REPORTING, State.DONE) and current == given:
        return Verdict.REPEAT
    return Verdict.REFUSE


class Answer(StrEnum):
    """What an answer of the ledger means for one step of a report."""

    SUCCESS = "success"
    OVER = "over"  # the task is final otherwise: the rest of the report has no addressee
    AGAIN = "again"  # nobody knows whether it was carried out: repeat
    EARLY = "early"  # the task's parents are not done on the ledger yet
    BROKEN = "broken"  # a definite refusal that repeating does not heal


def executing(transition: tuple[str, str] | None, *, unknown: bool) -> Answer:
    """The answer to EXECUTING, when it was an error (rule 2)."""
    if transition is None:
        return Answer.AGAIN if unknown else Answer.BROKEN
    status = transition[1]
    if status == TaskStatus.EXECUTING:
        return Answer.SUCCESS
    if status == TaskStatus.WAITING_FOR_PARENT_TASKS:
        return Answer.EARLY
    return Answer.OVER if status in set(FINAL) else Answer.BROKEN


def done(transition: tuple[str, str] | None, *, unknown: bool) -> Answer:
    """The answer to DONE, when it was an error (rule 1)."""
    if transition is None:
        return Answer.AGAIN if unknown else Answer.BROKEN
    status = transition[1]
    if status == TaskStatus.DONE:
        return Answer.SUCCESS
    return Answer.OVER if status in set(FINAL) else Answer.BROKEN


def worn_out(attempts: int, *, most: int = ATTEMPTS) -> bool:
    """True when a task lost so many workers that the next would only be lost as well."""
    return attempts >= most


def too_long(waited_s: float, limit_s: float) -> bool:
    """True when a step took longer than its limit; 0 is no limit."""
    return 0 < limit_s < waited_s


def back_off_s(attempts: int, *, most: float = 60.0) -> float:
    """Seconds to wait before the next attempt: 0.5, 1, 2, 4 … `most`."""
    return float(min(most, 0.5 * 2 ** min(max(attempts - 1, 0), 16)))


def clamp_microseconds(seconds: float) -> int:
    """A duration for the ledger's uint32: 71 minutes and 35 seconds is the most that it can hold."""
    return int(min(max(seconds, 0.0) * 1_000_000, 2**32 - 1))


def is_performance(value: object) -> bool:
    """A number that a 32-bit float can hold; NaN is one (the metric of an empty fold)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isnan(value) or abs(float(value)) <= 3.4028234663852886e38


def nobody_needs(plans: Sequence[PlanStatus]) -> bool:
    """True for a function that plans use, all of which ended; one that no plan uses yet is wanted."""
    return bool(plans) and all(plan in ENDED_PLANS for plan in plans)
