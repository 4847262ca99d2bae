"""SIGKILL in the middle of a plan: it still ends done, and each task finishes once."""

import os
import signal

import pytest
from substra.sdk.models import ComputePlanStatus, ComputeTaskStatus

from tests.e2e.conftest import RunningNetwork
from tests.e2e.ledger_events import finishes
from tests.e2e.playground import Playground
from tests.e2e.waiting import wait_for


def killed(pid: int) -> bool:
    """False when the process, one of a single task perhaps, has ended by itself meanwhile."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("role", ["runner", "scheduler"])
def test_plan_survives_the_death_of_a_process(
    network: RunningNetwork, playground: Playground, role: str
) -> None:
    client = playground.clients[0]
    unhurried = playground.data([1])
    tasks = [task for _ in range(2) for task in playground.chain(3, [unhurried], name="linger")]
    plan = playground.submit(tasks)
    wait_for(
        lambda: any(
            client.get_task(task.task_id).status == ComputeTaskStatus.executing for task in tasks
        ),
        "a task runs",
    )
    victims = {
        process["pid"]
        for process in network.processes(role, "org-1")
        if process["healthy"] and killed(process["pid"])
    }
    assert victims
    assert playground.finish(plan, timeout_s=120).status == ComputePlanStatus.done
    counts = finishes(network.description, [task.task_id for task in tasks])
    assert dict(counts) == {task.task_id: 1 for task in tasks}
    assert playground.model(tasks[2])["value"] == 3
    wait_for(
        lambda: (
            {process["pid"] for process in network.processes(role, "org-1") if process["healthy"]}
            - victims
        ),
        f"a new {role} is there",
    )
