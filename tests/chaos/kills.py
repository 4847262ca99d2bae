"""Random SIGKILLs of every kind of process while plans run, and of all of them at once."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil

from network.layout import Layout
from network.state import State
from network.status import ProcessRow, rows
from tests.chaos.caller import Caller
from tests.chaos.restarts import cut_power
from tests.chaos.scenarios import FINAL, Story, chain, finish, wait
from tests.chaos.walk import ON_S, crowding

ROLES = (
    *("api", "ray-serve-replica", "event-bridge", "runner", "zygote", "function"),
    *("orchestrator", "postgres", "front-door", "ray-head", "power"),
)
ALWAYS = {"function", "zygote", "power"}
KEPT = frozenset(ROLES) - ALWAYS
"""Roles whose processes somebody starts again, as many as there were."""
AFTER_S = (0.1, 2.5)
LINGER = "time.sleep(0.4)"  # so that there are functions to kill
HEALTHY_S = 120.0
COMES_S = 20.0
"""Functions and zygotes come and go: one is waited for."""
NOBODY = "nobody there"


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: `back_s` until all processes were healthy, `progress_s` from then until some task went on.

    `power`: every process of the network, and `up` afterwards.
    """

    role: str
    outcome: str
    back_s: float = 0.0
    progress_s: float = 0.0

    @property
    def broken(self) -> bool:
        return self.outcome not in ("ok", NOBODY)


def schedule(
    layout: Layout,
    callers: list[Caller],
    done_once: Callable[[list[str]], None],
    up: Callable[[], None],
    until: float,
    seed: int,
) -> Iterator[Kill]:
    """Kill until the time `until` of time.monotonic(); every role once, then at random."""
    chance = random.Random(seed)
    here = {row.role for row in _rows(layout)} | ALWAYS
    roles = [role for role in ROLES if role in here]
    waiting = list(roles)
    while time.monotonic() < until:
        role = waiting.pop(0) if waiting else chance.choice(roles)
        yield _kill(layout, callers, done_once, up, role, chance)


def _kill(
    layout: Layout,
    callers: list[Caller],
    done_once: Callable[[list[str]], None],
    up: Callable[[], None],
    role: str,
    chance: random.Random,
) -> Kill:
    try:
        before = _standing(_rows(layout))
        story = chain(callers, LINGER)
        time.sleep(chance.uniform(*AFTER_S))
        if not _strike(layout, role, chance):
            finish(story, callers)
            return Kill(role, NOBODY)
        struck = time.monotonic()
        if role == "power":
            up()
        back = _until_healthy(layout, before)
        back_s, progress_s = back - struck, _until_moved(story, callers[0]) - back
        finish(story, callers)
        done_once(list(story.tasks))
        _again(callers, done_once)
    except AssertionError as error:
        return Kill(role, (str(error) or "failed").splitlines()[0][:200])
    outcome = "ok" if progress_s <= ON_S * crowding() else "slow"
    return Kill(role, outcome, back_s, progress_s)


def _again(callers: list[Caller], done_once: Callable[[list[str]], None]) -> None:
    """The network is as it was: another chain, undisturbed."""
    story = chain(callers)
    finish(story, callers)
    done_once(list(story.tasks))


def _rows(layout: Layout) -> list[ProcessRow]:
    state = State.load(layout)
    assert state is not None
    return rows(layout, state)


def _strike(layout: Layout, role: str, chance: random.Random) -> bool:
    if role == "power":
        return cut_power(layout) > 0
    deadline = time.monotonic() + COMES_S
    while not (pids := functions(layout) if role == "function" else _pids(layout, role)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    try:
        os.kill(chance.choice(pids), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _pids(layout: Layout, role: str) -> list[int]:
    return [row.pid for row in _rows(layout) if row.role == role and row.pid]


def functions(layout: Layout) -> list[int]:
    """Processes whose working folder is a task's root."""
    found = []
    for process in psutil.process_iter():
        try:
            if "/tasks/" in process.cwd() and str(layout.run) in process.cwd():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def _until_moved(story: Story, caller: Caller) -> float:
    """When a task of the story had another status than now, or all were over, of time.monotonic()."""

    def statuses() -> list[str]:
        return [caller.status("task", key) for key in story.tasks]

    before = statuses()
    wait(lambda: (now := statuses()) != before or set(now) <= FINAL, "some task goes on")
    return time.monotonic()


def _standing(found: list[ProcessRow]) -> Counter[tuple[str, str | None]]:
    """How many processes of each kept role an organization has; one runner stands for all.

    What a runner starts for a moment looks like it, so their number says nothing.
    """
    standing = Counter((row.role, row.organization) for row in found if row.role in KEPT)
    return Counter({who: 1 if who[0] == "runner" else n for who, n in standing.items()})


def _until_healthy(layout: Layout, before: Counter[tuple[str, str | None]]) -> float:
    """When everything answered again and nothing lacked, of time.monotonic(). Raises AssertionError."""
    deadline = time.monotonic() + HEALTHY_S
    while time.monotonic() < deadline:
        found = _rows(layout)
        if all(row.healthy for row in found) and _standing(found) >= before:
            return time.monotonic()
        time.sleep(0.1)
    raise AssertionError(f"not healthy within {HEALTHY_S:.0f} s")
