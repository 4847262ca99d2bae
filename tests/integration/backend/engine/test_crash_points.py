"""Processes die before and after the steps that must last; each task is done once all the same.

The short walk; `make chaos` walks all points on a whole network.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.armory import Armory
from tests.chaos.caller import Caller
from tests.chaos.walk import Walk
from tests.e2e.ledger_events import finishes
from tests.integration.backend.engine.processes import Network, Organization

# rules 1 to 4: claim, start, result, outbox, files, registrations, DONE, events
POINTS = [
    "runner.lease.taken",
    "commit.RunnerService.take.after",
    "ledger.ApplyTaskActionParam-1.after",
    "runner.result.kept",
    "commit.RunnerService.give.before",
    "commit.RunnerService.give.after",
    "store.models.after",
    "ledger.RegisterModelsParam.after",
    "ledger.ApplyTaskActionParam-4.after",
    "commit.Reporter.report.before",
    "commit.Applier._commit.after",
    "ledger.RegisterTasksParam.after",
]


class Reviver(threading.Thread):
    """Starts killed processes again, as the supervisor of a network does."""

    def __init__(self, organizations: list[Organization]) -> None:
        super().__init__(name="reviver", daemon=True)
        self._organizations = organizations
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.05):
            for organization in self._organizations:
                organization.revive()

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture(scope="module")
def walk(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    state: Path = tmp_path_factory.mktemp("crashes")
    armory = Armory(state / "points")
    network = Network(postgres, state, 2)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in armory.environment.items():
            patch.setenv(name, value)
        try:
            network.start()
            reviver = Reviver(network.organizations)
            reviver.start()
            members = [
                Caller(each.url, each.name, "p@sswr0d4444", each.msp_id)
                for each in network.organizations
            ]
            for member in members:
                member.log_in()
            yield Walk(armory, members, lambda tasks: _once(network, tasks), together=4)
            reviver.end()
        finally:
            network.stop()


def _once(network: Network, tasks: list[str]) -> None:
    description = {
        "organizations": [{"msp_id": network.organizations[0].msp_id}],
        "orchestrator": network.ledger,
    }
    counts = finishes(description, tasks) if tasks else {}
    assert {key: counts[key] for key in tasks} == dict.fromkeys(tasks, 1)


def test_deaths_at_any_step_cost_seconds_and_nothing_is_done_twice(walk: Walk) -> None:
    recorded = walk.record()
    assert set(POINTS) <= set(recorded["chain"])
    steps = list(walk.steps({"chain": POINTS}, until=float("inf")))
    assert [step for step in steps if step.outcome != "ok"] == []
