"""Plans that are timed: the same ones on a network and in the SDK's own subprocess mode.

Subprocess mode has no server, no permissions, no isolation and no persistence: it starts a Python
process for each task, one after the other. It is what a user of the SDK compares us with.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import substra
from substra.sdk.models import ComputePlan

from network.demo import data as tumours
from network.demo.experiment import BuildsFirst, Member, Outcome, quiet, run
from tests.e2e.playground import Playground

TASKS = 50
REPEATS = 3
Measured = Callable[[Playground], float]


@contextmanager
def playground(clients: Sequence[substra.Client]) -> Iterator[Playground]:
    with TemporaryDirectory(prefix="sr-bench-") as folder, quiet():
        yield Playground(list(clients), Path(folder))


@contextmanager
def subprocess_clients(count: int = 2) -> Iterator[list[substra.Client]]:
    """Clients of the local mode, whose files go to a temporary folder."""
    with TemporaryDirectory(prefix="sr-bench-") as folder, chdir(folder):
        yield [BuildsFirst(backend_type="subprocess") for _ in range(count)]


def chain(ground: Playground) -> float:
    """Seconds a task of a chain: from the submission until the end of the plan's last task."""
    data = [ground.data([1], 0)]
    return _timed(ground, lambda: ground.chain(TASKS, data))


def independent(ground: Playground) -> float:
    """Seconds a task of as many tasks that need nothing of each other."""
    data, function = ground.data([1], 0), ground.function("add")
    return _timed(ground, lambda: [ground.task(function, data.inputs()) for _ in range(TASKS)])


def _timed(ground: Playground, tasks: Callable[[], Sequence[object]]) -> float:
    """The median of some runs, after one that is not counted: images built, everything awake.

    A plan ends when the network says so: a client that asks twenty times a second would be part of the load.
    """
    ground.run(list(tasks())[:2], timeout_s=300)
    seconds = []
    for _ in range(REPEATS):
        plan = list(tasks())
        started = datetime.now(UTC)
        ended = ground.run(plan, timeout_s=300, every_s=0.5)
        seconds.append((_end(ended) - started).total_seconds())
        if ended.done_count != len(plan):
            raise RuntimeError(f"{ended.done_count} of {len(plan)} tasks done: {ended.status}")
    return statistics.median(seconds) / TASKS


def _end(plan: ComputePlan) -> datetime:
    """The end that the network notes; local mode answers when the plan is over, and notes local time."""
    noted = plan.end_date
    return noted if noted and noted.tzinfo else datetime.now(UTC)


def substrafl(clients: Sequence[substra.Client]) -> Outcome:
    """The demo's 21 tasks of federated averaging."""
    shares = tumours.split(tumours.load(), len(clients))
    members = [
        Member(name=f"org-{index}", client=client, share=share)
        for index, (client, share) in enumerate(zip(clients, shares, strict=True), 1)
    ]
    with TemporaryDirectory(prefix="sr-bench-") as folder:
        return run(members, Path(folder))
