"""Rule 10: two control planes on one database. One works; the other takes over within the lease's time."""

import signal
import time
from collections.abc import Iterator

import pytest

from backend.engine.compute.queue import LEASE_S
from tests.integration.backend.engine.processes import Network, Organization
from tests.integration.backend.engine.test_processes import finished
from tests.integration.backend.engine.world import eventually

PARTS = ("control", "second")
LENGTH = 5
SLACK_S = 3.0  # of a busy machine, above the lease and one look a second
HOLDERS = "SELECT name, holder FROM loop_lease WHERE held_until > now()"


@pytest.fixture(scope="module")
def organization(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organization]:
    """Alone in its network, with two control planes."""
    network = Network(postgres, tmp_path_factory.mktemp("network"), 1)
    try:
        network.start()
        (found,) = network.organizations
        eventually(lambda: len(loops(found)) > 5, "the first has its loops", 60)
        start(found, "second")
        yield found
    finally:
        network.stop()


def listeners(organization: Organization) -> int:
    """Processes that are told of new work; a control plane starts its loops then."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    return int(organization.rows(f"{query} AND query LIKE 'LISTEN%'")[0][0])


def start(organization: Organization, part: str) -> None:
    """A control plane, until it waits for work."""
    before = listeners(organization)
    organization.start_control(part)
    eventually(lambda: listeners(organization) > before, f"{part} waits for work", 60)


def loops(organization: Organization) -> dict[str, int]:
    """The process that runs each loop."""
    return {name: int(holder.rsplit(":", 3)[1]) for name, holder in organization.rows(HOLDERS)}


def holder(organization: Organization) -> str:
    """The part that schedules."""
    pid = loops(organization)["scheduler"]
    return next(part for part in PARTS if organization.pid(part) == pid)


def each_once(organization: Organization, tasks: list[str]) -> bool:
    """No task was handed out twice, and each has one model."""
    keys = ", ".join(f"'{task}'" for task in tasks)
    query = f"SELECT attempts, state FROM work WHERE kind = 'task' AND key IN ({keys})"
    assert organization.rows(query) == [(1, "done")] * len(tasks)
    found = [organization.get(f"/task/{task}/output_assets/")["count"] for task in tasks]
    return found == [1] * len(tasks)


def running_chain(organization: Organization) -> list[str]:
    """A chain of half a second each, its first task at work."""
    function = organization.function(f"time.sleep(0.5)  # {time.time()}")
    tasks = organization.chain(organization.plan(), function, [organization.msp_id] * LENGTH)
    eventually(lambda: organization.status("task", tasks[0]) == "STATUS_EXECUTING", "it runs", 60)
    return tasks


def test_one_of_two_does_all_the_work(organization: Organization) -> None:
    tasks = running_chain(organization)
    assert finished(organization, tasks[-1]) == "STATUS_DONE"
    assert each_once(organization, tasks)
    built = [organization.log(part).count("function_built") for part in PARTS]
    assert sorted(built) == [0, 1]


def test_other_takes_over_from_a_killed_one(organization: Organization) -> None:
    lost = holder(organization)
    (heir,) = set(PARTS) - {lost}
    tasks = running_chain(organization)
    organization.kill(lost)
    began = time.monotonic()
    pid = organization.pid(heir)
    eventually(lambda: set(loops(organization).values()) == {pid}, "it took over", 30)
    assert time.monotonic() - began < LEASE_S + SLACK_S
    assert finished(organization, tasks[-1]) == "STATUS_DONE"
    assert each_once(organization, tasks)
    start(organization, lost)


def test_one_that_was_frozen_finds_its_loops_taken_and_does_nothing_twice(
    organization: Organization,
) -> None:
    """Nobody can tell that it is dead: its leases run out. Then it wakes up, in the middle of its work."""
    frozen = holder(organization)
    (heir,) = set(PARTS) - {frozen}
    tasks = running_chain(organization)
    organization.signal(frozen, signal.SIGSTOP)
    began = time.monotonic()
    pid = organization.pid(heir)
    eventually(lambda: set(loops(organization).values()) == {pid}, "it took over", 30)
    took = time.monotonic() - began
    organization.signal(frozen, signal.SIGCONT)
    assert took < LEASE_S + SLACK_S
    assert finished(organization, tasks[-1]) == "STATUS_DONE"
    assert each_once(organization, tasks)
