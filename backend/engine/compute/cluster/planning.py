"""What the pool should do next: pure rules over what is wanted and what is there; no cluster, no clock.

`Pool.turn` loads both, calls `plan_sessions` and `plan_groups`, and carries the steps out. A step that was
carried out twice, or only half, leads to the same steps again or to none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Demand:
    """Tasks of one plan that wait for or run in pods of one function image."""

    plan: str
    group: str
    tasks: int


class Phase(StrEnum):
    """Of a session's job."""

    PENDING = "pending"  # no pod yet
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Session:
    """A session that was opened, as its Ray job says; `pod` is known once it runs."""

    id: str
    plan: str
    group: str
    phase: Phase
    pod: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A worker group in the cluster. `used` rises with each use: the smallest was used longest ago."""

    name: str
    maximum: int  # 0: it is being evicted
    pods: int
    minimum: int = 0
    used: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """`what` to do with a group, session or pod."""

    what: str  # open, stop, forget, retire, append, bound, evict
    group: str
    plan: str = ""
    session: str = ""
    pod: str = ""
    number: int = 0


def plan_sessions(
    demands: Iterable[Demand],
    sessions: Sequence[Session],
    maximum: Mapping[str, int],
) -> list[Step]:
    """Open as many sessions as there are tasks, up to the group's maximum; retire and forget the ended ones.

    Plans of one group share its pods: each gets one before any gets its second (rule 33). A session that still
    waits for a pod while its plan has nothing to do any more is stopped.
    """
    steps: list[Step] = []
    living = [s for s in sessions if s.phase is not Phase.ENDED]
    for session in sessions:
        if session.phase is Phase.ENDED:
            if session.pod is not None:
                steps.append(Step("retire", session.group, pod=session.pod, session=session.id))
            steps.append(Step("forget", session.group, session.plan, session.id))
    wanted: dict[tuple[str, str], int] = {}
    for demand in demands:
        key = (demand.group, demand.plan)
        wanted[key] = wanted.get(key, 0) + demand.tasks
    open_now: dict[tuple[str, str], int] = {}
    for session in living:
        key = (session.group, session.plan)
        open_now[key] = open_now.get(key, 0) + 1
    for session in living:
        key = (session.group, session.plan)
        if session.phase is Phase.PENDING and open_now[key] > wanted.get(key, 0):
            open_now[key] -= 1
            steps.append(Step("stop", session.group, session.plan, session.id))
    for group in sorted({name for name, _plan in wanted}):
        steps += _openings(group, wanted, open_now, maximum.get(group, 0))
    return steps


def _openings(
    group: str,
    wanted: Mapping[tuple[str, str], int],
    open_now: dict[tuple[str, str], int],
    maximum: int,
) -> list[Step]:
    room = maximum - sum(count for (name, _), count in open_now.items() if name == group)
    steps = []
    while room > 0:
        short = [
            (open_now.get(key, 0), key[1])
            for key, tasks in wanted.items()
            if key[0] == group and open_now.get(key, 0) < tasks
        ]
        if not short:
            break
        _least, plan = min(short)
        open_now[group, plan] = open_now.get((group, plan), 0) + 1
        steps.append(Step("open", group, plan))
        room -= 1
    return steps


def plan_groups(
    needed: Iterable[str],
    announced: Iterable[str],
    groups: Sequence[Group],
    busy: Mapping[str, int],
    *,
    most: int,
    maximum: int,
    warm: int,
) -> list[Step]:
    """Append groups that are needed, keep them within `most`, let the least recently used ones go.

    `needed` have tasks; `announced` are functions that turned READY, whose groups are appended while there is
    room for nothing but themselves (rule 33). `busy` are pods with a session, by group: a warm minimum counts
    those that served nobody. A group with sessions is never evicted; without room, needed groups wait.
    """
    steps: list[Step] = []
    there = {group.name: group for group in groups}
    needed = sorted(set(needed))
    for group in groups:
        if group.maximum == 0:
            steps.append(Step("evict", group.name))  # begun, perhaps by one that died
            continue
        minimum = min(group.maximum, warm + busy.get(group.name, 0)) if warm else 0
        if minimum != group.minimum:
            steps.append(Step("bound", group.name, number=minimum))
    missing = [name for name in needed if name not in there]
    later = [n for n in dict.fromkeys(announced) if n not in there and n not in missing]
    room = most - len(groups)
    idle = sorted(
        (
            group
            for group in groups
            if group.maximum and group.name not in needed and not busy.get(group.name)
        ),
        key=lambda group: (group.used, group.name),
    )
    leaving = sum(1 for group in groups if not group.maximum)
    for name in missing[: max(room, 0)]:
        steps.append(Step("append", name, number=maximum))
    short = len(missing) - max(room, 0) - leaving
    for group in idle[: max(short, 0)]:
        steps.append(Step("evict", group.name))
    for name in later[: max(room - len(missing), 0)]:
        steps.append(Step("append", name, number=maximum))
    return steps
