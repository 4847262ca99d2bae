"""Cancel of a plan with running functions and many waiting tasks: from the request to the last trace of it."""

import threading
import time
from collections.abc import Callable

from bench.embedded import Embedded
from bench.table import Figure
from network.layout import Layout
from tests.chaos.caller import task
from tests.chaos.kills import functions
from tests.chaos.scenarios import wait

RUNNING = 2
WAITING = 1_000
BATCH = 500
GOAL_S = 2.0
LOOK_S = 0.02


def figures(network: Embedded) -> list[Figure]:
    caller, layout = network.callers()[0], Layout.at(network.state)
    function = caller.function("time.sleep(600)", score=False)
    plan = caller.plan()
    first = [task(plan, function, caller.msp_id, score=False) for _ in range(RUNNING)]
    parent = (first[0]["key"],)
    later = [task(plan, function, caller.msp_id, parent, score=False) for _ in range(WAITING)]
    for start in range(0, WAITING + RUNNING, BATCH):
        caller.tasks([*first, *later][start : start + BATCH])
    wait(lambda: len(functions(layout)) >= RUNNING, "they run", 300)
    began = time.monotonic()
    answer = caller.ask("POST", f"/compute_plan/{plan}/cancel/")
    assert answer.status_code == 200, answer.text
    _until(lambda: not functions(layout))
    gone_s = time.monotonic() - began
    _until(lambda: caller.get(f"/compute_plan/{plan}/")["canceled_count"] == RUNNING + WAITING)
    over_s = time.monotonic() - began
    return [
        Figure("cancel, until the last process is gone", "s", gone_s, goal=GOAL_S),
        Figure("... until 1,000 waiting tasks are canceled", "s", over_s, goal=GOAL_S),
    ]


def _until(condition: Callable[[], object]) -> None:
    """Raises AssertionError after a minute."""
    deadline, pause = time.monotonic() + 60, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "nothing came of the cancel"
        pause.wait(LOOK_S)
