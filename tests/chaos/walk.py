"""The walk: at each crash point a process dies once, and its story ends as if nothing had been."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from tests.chaos.armory import Armory
from tests.chaos.caller import Caller
from tests.chaos.scenarios import SCENARIOS, Scenario, finish

UNTIL_HIT_S = 5.0
CALM_S = 60.0
QUIET_S = 2.5
"""Longer than the pause between two heartbeats of a runner."""
ON_S = 10.0
"""A plan goes on that soon after all processes are back; here it is even over by then."""
# reads and polls change nothing: dying there is dying between two steps, which the others are too
READS = ("ledger.Get", "ledger.Query", "ledger.Is", "ledger.Subscribe", "commit.TokenService")


@dataclass(frozen=True, slots=True)
class Step:
    """One point: `outcome` is `ok`, `not reached`, or what went wrong.

    `after_s`: from the death to the story's end; `on_s`: the part of it after all processes were well again.
    `before`: what went wrong at the first try, in a group or alone, when a later one was survived.
    """

    scenario: str
    point: str
    outcome: str
    after_s: float = 0.0
    on_s: float = 0.0
    process: str = "-"
    before: str = ""

    @property
    def broken(self) -> bool:
        return self.outcome not in ("ok", "not reached", "no time left")


@dataclass
class Walk:
    """A network whose processes die. `done_once` raises AssertionError when a task became DONE twice.

    `together`: that many points of different processes are armed for one run, so that these die one after
    the other; when it goes wrong, each of them is tried alone, and so is one that another's death kept
    from being reached. One that goes wrong alone is tried once more when all processes are well: a busy
    machine misses moments, a bug stays.
    """

    armory: Armory
    callers: list[Caller]
    done_once: Callable[[list[str]], None]
    together: int = 4
    unwell: Callable[[], float] | None = None
    """When some process was last not well, of time.time(); None: not known, and nothing is called slow."""
    calm_s: float = 0.0
    """So long nobody may have been unwell before a second try."""
    scenarios: Mapping[str, Scenario] | None = None

    def record(self) -> dict[str, list[str]]:
        """Run every scenario in peace; each point goes to the first scenario that passed it."""
        known: set[str] = set()
        found: dict[str, list[str]] = {}
        for name, scenario in self._scenarios.items():
            began = time.time()
            finish(scenario(self.callers), self.callers)
            passed = {p for p in self._passed(began) if not p.startswith(READS)}
            found[name] = sorted(passed - known)
            known |= passed
        return found

    def _passed(self, began: float) -> set[str]:
        """Points since then, those of clean-ups too: until none came for a while."""
        passed = self.armory.seen_since(began)
        quiet_until = time.monotonic() + QUIET_S
        while time.monotonic() < quiet_until:
            time.sleep(0.1)
            if (now := self.armory.seen_since(began)) != passed:
                passed, quiet_until = now, time.monotonic() + QUIET_S
        return passed

    def steps(self, plan: Mapping[str, list[str]], until: float) -> Iterator[Step]:
        """Every point of `plan`, scenarios in turns, until the time `until` of time.monotonic()."""
        groups = ([(n, g) for g in mixed(p, self.together, self._kind)] for n, p in plan.items())
        rows = zip_longest(*groups)
        for name, group in (each for row in rows for each in row if each is not None):
            if time.monotonic() > until:
                yield from (Step(name, point, "no time left") for point in group)
                continue
            found = self._together(name, group)
            if len(group) > 1:
                broken = any(step.broken for step in found)
                again = [step for step in found if broken or step.outcome != "ok"]
                yield from (step for step in found if step not in again)
                for step in again:
                    yield self._alone(step, until)
            else:
                yield self._second(found[0]) if found[0].broken else found[0]

    @property
    def _scenarios(self) -> Mapping[str, Scenario]:
        return SCENARIOS if self.scenarios is None else self.scenarios

    def _kind(self, point: str) -> str:
        """The kind of process that reaches the point; the point's own kind while nobody was seen there."""
        return min(self.armory.visitors(point), default=point.partition(".")[0])

    def _alone(self, first: Step, until: float) -> Step:
        if time.monotonic() > until:
            return replace(first, outcome="no time left")
        (step,) = self._together(first.scenario, [first.point])
        if step.broken:
            return self._second(step)
        return replace(step, before=f"in a group, {first.outcome}") if first.broken else step

    def _second(self, first: Step) -> Step:
        """Once more, after a calm."""
        deadline = time.monotonic() + CALM_S
        while self._well_s(time.time()) < self.calm_s and time.monotonic() < deadline:
            time.sleep(0.2)
        (step,) = self._together(first.scenario, [first.point])
        return step if step.broken else replace(step, before=first.outcome)

    def _together(self, name: str, points: list[str]) -> list[Step]:
        for point in points:
            self.armory.arm(point)
        try:
            story = self._scenarios[name](self.callers)
            finish(story, self.callers)
            ended = time.time()
            self._wait_for_hits(points)
            self.done_once([key for key, end in story.tasks.items() if end == "STATUS_DONE"])
        except AssertionError as error:
            reason = (str(error) or "failed").splitlines()[0][:200]
            return [Step(name, point, reason, process=self._victim(point)) for point in points]
        finally:
            self.armory.disarm()
        return [self._told(name, point, ended) for point in points]

    def _victim(self, point: str) -> str:
        return self.armory.victim(point) if self.armory.is_hit(point) else "-"

    def _told(self, name: str, point: str, ended: float) -> Step:
        if not self.armory.is_hit(point):
            return Step(name, point, "not reached")
        after_s = max(0.0, self.armory.hit_s_ago(point, ended))
        on_s = max(0.0, min(after_s, self._well_s(ended)))
        outcome = (
            "ok" if on_s <= ON_S * crowding() else f"slow: ended {on_s:.0f} s after all were well"
        )
        return Step(name, point, outcome, after_s, on_s, self._victim(point))

    def _well_s(self, now: float) -> float:
        """For how long everybody had been well at the moment `now` of time.time()."""
        return math.inf if self.unwell is None else now - self.unwell()

    def _wait_for_hits(self, points: list[str]) -> None:
        """Clean-ups come after a scenario's end."""
        deadline = time.monotonic() + UNTIL_HIT_S
        while time.monotonic() < deadline and not all(map(self.armory.is_hit, points)):
            time.sleep(0.05)


def crowding() -> float:
    """How many want each processor, at least 1: moments are judged by what a quiet machine needs."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def mixed(points: Sequence[str], size: int, kind: Callable[[str], str]) -> list[list[str]]:
    """Groups of at most `size`; points of each kind are spread evenly over all of them."""
    queues: dict[str, list[str]] = {}
    for point in points:
        queues.setdefault(kind(point), []).append(point)
    places = {
        point: (index + 0.5) / len(queue)
        for queue in queues.values()
        for index, point in enumerate(queue)
    }
    order = sorted(points, key=places.__getitem__)
    return [order[start : start + size] for start in range(0, len(order), size)]
