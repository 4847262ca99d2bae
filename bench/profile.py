"""Where the milliseconds of one task go, from step to step of a chain."""

import statistics
from itertools import pairwise

import httpx

from tests.e2e.playground import Playground

LENGTH = 20


def profile(ground: Playground, organization: dict[str, str]) -> dict[str, float]:
    """Medians over a chain, in milliseconds, by the ledger's dates and the runner's own steps."""
    tasks = ground.chain(LENGTH, [ground.data([1], 0)])
    ground.run(tasks)
    client, url = ground.clients[0], organization["url"]
    token = client.login(organization["username"], organization["password"])
    seen = [client.get_task(task.task_id) for task in tasks]
    steps: dict[str, list[float]] = {}
    for task in seen:
        for step, duration_us in _steps(url, token, task.key).items():
            steps.setdefault(step, []).append(duration_us / 1000)
    running = [(task.end_date - task.start_date).total_seconds() * 1000 for task in seen]
    between = [
        (after.start_date - before.end_date).total_seconds() * 1000
        for before, after in pairwise(seen)
    ]
    result = {
        "one task done -> next executing (ledger, event, lease)": statistics.median(between),
        "executing -> done (by the ledger)": statistics.median(running),
    }
    result |= {f"  of it {step}": statistics.median(found) for step, found in steps.items()}
    inside = sum(value for name, value in result.items() if name.startswith("  "))
    result["  of it reporting, and what no step counts"] = (
        result["executing -> done (by the ledger)"] - inside
    )
    return result


def _steps(url: str, token: str, task: str) -> dict[str, float]:
    """The task's profiling steps in microseconds, by a call that the SDK has no method for."""
    answer = httpx.get(f"{url}/task_profiling/{task}/", headers={"Authorization": f"Token {token}"})
    answer.raise_for_status()
    return {step["step"]: float(step["duration"]) for step in answer.json()["execution_rundown"]}
