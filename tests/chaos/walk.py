"""Walk crash points: record which ones a scenario passes, then let a process die at each of them in turn."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from tests.chaos.armory import Armory
from tests.chaos.caller import Caller
from tests.chaos.scenarios import SCENARIOS, finish

KINDS = ("ledger.", "runner.", "store.", "orchestrator.", "commit.")
UNTIL_HIT_S = 5.0
# reads and polls change nothing: dying there is dying between two steps, which the others are too
READS = ("ledger.Get", "ledger.Query", "ledger.Is", "ledger.Subscribe", "commit.TokenService")


@dataclass(frozen=True, slots=True)
class Step:
    """One point: `outcome` is `ok`, `not reached`, or what went wrong.

    `after_s`: from the death to the scenario's end; `on_s`: the part of it after all processes were well again.
    """

    scenario: str
    point: str
    outcome: str
    after_s: float = 0.0
    on_s: float = 0.0


@dataclass
class Walk:
    """A network whose processes die. `done_once` raises AssertionError when a task became DONE twice.

    `together`: that many points of different kinds are armed for one run, so that its processes die one
    after the other; when it goes wrong, each of them is tried alone, and so is one that another's death kept
    from being reached.
    """

    armory: Armory
    callers: list[Caller]
    done_once: Callable[[list[str]], None]
    together: int = 4
    unwell: Callable[[], float] = lambda: 0.0
    """When some process was last not well, of time.time()."""

    def record(self) -> dict[str, list[str]]:
        """Run every scenario in peace; each point goes to the first scenario that passed it."""
        known: set[str] = set()
        found: dict[str, list[str]] = {}
        for name, scenario in SCENARIOS.items():
            began = time.time()
            finish(scenario(self.callers), self.callers)
            passed = {p for p in self.armory.seen_since(began) if not p.startswith(READS)}
            found[name] = sorted(passed - known)
            known |= passed
        return found

    def steps(self, plan: Mapping[str, list[str]], until: float) -> Iterator[Step]:
        """Every point of `plan`, scenarios in turns, until the time `until` of time.monotonic()."""
        rows = zip_longest(*([(n, g) for g in mixed(p, self.together)] for n, p in plan.items()))
        for name, group in (each for row in rows for each in row if each is not None):
            if time.monotonic() > until:
                yield from (Step(name, point, "no time left") for point in group)
                continue
            found = self._together(name, group)
            if len(group) > 1:
                broken = any(step.outcome not in ("ok", "not reached") for step in found)
                again = [s.point for s in found if broken or s.outcome != "ok"]
                found = [step for step in found if step.point not in again]
                found += [step for point in again for step in self._together(name, [point])]
            yield from found

    def _together(self, name: str, points: list[str]) -> list[Step]:
        for point in points:
            self.armory.arm(point)
        try:
            story = SCENARIOS[name](self.callers)
            finish(story, self.callers)
            self._wait_for_hits(points)
            self.done_once([key for key, end in story.tasks.items() if end == "STATUS_DONE"])
        except AssertionError as error:
            reason = (str(error) or "failed").splitlines()[0][:200]
            return [Step(name, point, reason) for point in points]
        finally:
            self.armory.disarm()
        return [self._told(name, point) for point in points]

    def _told(self, name: str, point: str) -> Step:
        if not self.armory.is_hit(point):
            return Step(name, point, "not reached")
        after_s = self.armory.hit_s_ago(point)
        return Step(name, point, "ok", after_s, min(after_s, time.time() - self.unwell()))

    def _wait_for_hits(self, points: list[str]) -> None:
        """Clean-ups come after a scenario's end."""
        deadline = time.monotonic() + UNTIL_HIT_S
        while time.monotonic() < deadline and not all(map(self.armory.is_hit, points)):
            time.sleep(0.05)


def mixed(points: list[str], size: int) -> list[list[str]]:
    """Groups of at most `size`, points of one kind as far apart as can be."""
    queues = [[p for p in points if p.startswith(kind)] for kind in KINDS]
    order = [p for row in zip_longest(*queues) for p in row if p is not None]
    return [order[start : start + size] for start in range(0, len(order), size)]
