"""Which of the recorded crash points a walk takes."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

Plan = dict[str, list[str]]
LOOKS = (
    *("Janitor.", "Counters.", "LoopLeases.", "Scheduler.sweep", "Scheduler.weigh", "heartbeat."),
    *(
        "RunnerService.authenticate",
        "RunnerService.held",
        "RunnerService.beat",
        "RunnerPool._known",
    ),
    *(
        "Applier._tidy",
        "Applier.load",
        "Membership.",
        ".inherit.",
        "commit.provision",
        "commit.take",
    ),
)
"""Transactions of loops that change nothing but who looks, when, and what they counted."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a plan; empty texts take everything.

    Attributes:
        only: the points whose names hold this text.
        start: everything before this point, in the plan's order, is left out.
        process: points that a process of this kind was seen at (`api`, `control`, `runner` …).
        done: points that are left out, since an earlier walk survived them.
    """

    only: str = ""
    start: str = ""
    process: str = ""
    done: Collection[str] = ()

    def of(self, plan: Mapping[str, list[str]], visitors: Callable[[str], set[str]]) -> Plan:
        chosen: Plan = {}
        begun = not self.start
        for story, points in plan.items():
            chosen[story] = []
            for point in points:
                begun = begun or point == self.start
                if begun and self._takes(point, visitors):
                    chosen[story].append(point)
        return chosen

    def _takes(self, point: str, visitors: Callable[[str], set[str]]) -> bool:
        if self.only not in point or point in self.done:
            return False
        return not self.process or self.process in visitors(point)


def for_ten_minutes(plan: Mapping[str, list[str]]) -> Plan:
    """The half that tells more, without what loops commit when they only look.

    Points *before* a step whose *after* is walked too are left out: what was done before it was told nobody
    either way; after it something is done that nobody was told.
    """
    return {
        story: [point for point in points if not _left_out(point, points)]
        for story, points in plan.items()
    }


def _left_out(point: str, points: Collection[str]) -> bool:
    if any(look in point for look in LOOKS):
        return True
    return point.endswith(".before") and f"{point.removesuffix('.before')}.after" in points
