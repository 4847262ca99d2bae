"""Where a task stands in the queue, and what it waits for, in words: pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backend.assets.tasks.states import FINAL, TaskStatus
from backend.engine.compute.tables import State


@dataclass(frozen=True, slots=True)
class Turn:
    """A plan with ready tasks: its place in its channel's round (`compute.claiming`)."""

    plan: str
    channel: str
    channel_start: float
    channel_weight: float
    start: float
    weight: float
    ready: int


@dataclass(frozen=True, slots=True)
class Row:
    """What the rows say of a task. `index`: ready tasks of its plan before it."""

    status: TaskStatus
    state: State | None
    canceled: bool = False
    attempts: int = 0
    tries: int = 0
    cause: str | None = None
    not_before: datetime | None = None
    open_parents: int = 0
    parents: int = 0
    builds_before: int | None = None  # None: another organization builds the function
    fits: bool = True
    index: int = 0


def position(plan: str, index: int, turns: Sequence[Turn]) -> int | None:
    """How many tasks are served before this one and itself, as things are now; None for a plan not in line."""
    own = next((turn for turn in turns if turn.plan == plan), None)
    if own is None:
        return None
    start = own.start + index / own.weight
    before = index + sum(
        _served(turn, start) for turn in turns if turn.channel == own.channel and turn is not own
    )
    channel_start = own.channel_start + before / own.channel_weight
    others: dict[str, list[Turn]] = {}
    for turn in turns:
        if turn.channel != own.channel:
            others.setdefault(turn.channel, []).append(turn)
    for channel in others.values():
        first = channel[0]
        count = (channel_start - first.channel_start) * first.channel_weight
        before += min(sum(turn.ready for turn in channel), max(0, math.ceil(count - 1e-9)))
    return before + 1


def _served(turn: Turn, start: float) -> int:
    """How many tasks of another plan start before `start`."""
    return min(turn.ready, max(0, math.ceil((start - turn.start) * turn.weight - 1e-9)))


_STATUS_REASONS = {
    TaskStatus.BUILDING: "its function is being built",
    TaskStatus.DONE: "it is done",
    TaskStatus.FAILED: "it failed",
    TaskStatus.CANCELED: "it was canceled",
}
_STATE_REASONS = {
    State.PREPARING: "its inputs and its function's image are brought here",
    State.LEASED: "a runner has it",
    State.REPORTING: "its result is being registered",
    State.DONE: "its result is registered, the event is on its way",
}


def reason(row: Row, place: int | None) -> str:
    """What a task waits for, for its user."""
    if row.status in FINAL or row.status is TaskStatus.BUILDING:
        return _STATUS_REASONS[row.status]
    if row.status is TaskStatus.WAITING_FOR_BUILDER_SLOT:
        if row.builds_before is None:
            return "its function waits to be built by its owner"
        return f"its function waits to be built; builds before it: {row.builds_before}"
    if row.status is TaskStatus.WAITING_FOR_PARENT_TASKS:
        return f"it waits for {row.open_parents} of {row.parents} parent tasks"
    if row.state is None:
        return "its event is on its way to the queue"
    if row.state is State.NEW:
        return row.cause or (
            "it will be tried again" if row.attempts else "it waits to be prepared"
        )
    if row.state is State.READY:
        if row.cause:  # of pods that do not come
            return row.cause
        if not row.fits:
            return "it does not fit beside the tasks that run now"
        return "it is next" if place == 1 else f"tasks before it: {(place or 1) - 1}"
    return "it is being stopped" if row.canceled else _STATE_REASONS[row.state]
