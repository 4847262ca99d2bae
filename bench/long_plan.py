"""`python -m bench.long_plan`: 10,000 tasks that do nothing. Does the last thousand cost what the first did?

Prints seconds a task of the first and of the last thousand, and the network's memory after each.
"""

import argparse
import sys
import time
from datetime import datetime

from rich.console import Console

from bench.embedded import Embedded, embedded
from bench.table import Figure, table
from tests.chaos.caller import Caller, task
from tests.chaos.scenarios import wait

TASKS = 10_000
PART = 1_000
BATCH = 500
LOOK_S = 2.0
NO_GROWTH = 1.15
"""Two measurements of the same differ by so much."""


def figures(network: Embedded, count: int = TASKS) -> list[Figure]:
    """Tasks that need nothing of each other: all of them are ready at once, which is the longest queue."""
    part = min(PART, count // 4)
    caller = network.callers()[0]
    function = caller.function(score=False)
    _run(network, caller, function, 20, 20)  # images built, everything awake
    registered_s, memory, plan = _run(network, caller, function, count, part)
    ends = _ends(caller, plan)
    first = (ends[part - 1] - ends[0]) / (part - 1)
    last = (ends[-1] - ends[-part]) / (part - 1)
    name = f"of {count} tasks that do nothing"
    return [
        Figure(f"registering, a thousand {name}", "s", 1000 * registered_s / count),
        Figure(
            *(f"last {part} {name}", "s a task", last, first),
            *(f"the first {part}", NO_GROWTH),
        ),
        Figure(
            *("memory after them (PSS)", "MB", memory[1], memory[0]),
            *(f"after the first {part}", NO_GROWTH),
        ),
    ]


def _run(
    network: Embedded, caller: Caller, function: str, count: int, part: int
) -> tuple[float, tuple[float, float], str]:
    """Seconds of registration, memory after the first part and at the end, the plan."""
    plan = caller.plan()
    tasks = [task(plan, function, caller.msp_id, score=False) for _ in range(count)]
    began = time.monotonic()
    for start in range(0, count, BATCH):
        caller.tasks(tasks[start : start + BATCH])
    registered_s = time.monotonic() - began

    def done() -> int:
        return int(caller.get(f"/compute_plan/{plan}/").get("done_count", 0))

    wait(lambda: done() >= part, "the first part", 600, LOOK_S)
    early = network.memory_mb()
    wait(lambda: done() == count, "the plan ends", 3600, LOOK_S)
    return registered_s, (early, network.memory_mb()), plan


def _ends(caller: Caller, plan: str) -> list[float]:
    """When the plan's tasks ended, in order, in seconds."""
    found, page = [], 1
    while True:
        answer = caller.get(f"/compute_plan/{plan}/task/?page={page}&page_size=1000")
        found += [datetime.fromisoformat(row["end_date"]).timestamp() for row in answer["results"]]
        if not answer["next"]:
            return sorted(found)
        page += 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.long_plan", description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS, help=f"of the plan ({TASKS:,})")
    count = parser.parse_args().tasks
    with embedded() as network:
        measured = figures(network, count)
    Console(highlight=False).print(table(measured))
    return int(not all(figure.reached in (None, True) for figure in measured))


if __name__ == "__main__":
    sys.exit(main())
