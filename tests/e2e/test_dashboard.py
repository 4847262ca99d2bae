"""What Ray's dashboard shows of us, in words for people."""

import time
from functools import partial
from typing import Any

import httpx
from substra.sdk.models import ComputePlanStatus

from tests.e2e.conftest import RunningNetwork
from tests.e2e.playground import Playground
from tests.e2e.waiting import wait_for

MARKED_S = 17
"""Seconds after its driver's end when Ray (2.60), left alone, calls all that it started failed."""


def _rows(network: RunningNetwork, kind: str) -> list[dict[str, Any]]:
    token = (network.state / "settings" / "ray-token").read_text().strip()
    answer = httpx.get(
        f"{network.description['dashboard']}/api/v0/{kind}",
        params={"limit": 1000, "detail": 1},
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    )
    rows: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]["result"]
    return rows


def _state(network: RunningNetwork, name: str) -> str | None:
    return next((row["state"] for row in _rows(network, "tasks") if row["name"] == name), None)


def test_a_running_task_has_a_readable_name(
    network: RunningNetwork, playground: Playground
) -> None:
    tasks = playground.chain(1, [playground.data([2])], name="linger")
    plan = playground.submit(tasks, name="seen by all")
    name = "linger · org-1 · seen by all · 0"
    wait_for(lambda: _state(network, name) == "RUNNING", "the dashboard shows the task")
    assert playground.finish(plan).status == ComputePlanStatus.done
    wait_for(lambda: _state(network, name) == "FINISHED", "the dashboard shows its end")


def _ended_long_ago(network: RunningNetwork) -> bool:
    ends = [job["end_time"] for job in _rows(network, "jobs")]
    return all(end and time.time() - end / 1000 > MARKED_S for end in ends)


def test_what_lives_is_not_called_failed_when_its_driver_has_ended(network: RunningNetwork) -> None:
    wait_for(partial(_ended_long_ago, network), "the driver that deployed has ended", 90)
    alive = {row["actor_id"] for row in _rows(network, "actors") if row["state"] == "ALIVE"}
    ours = [row for row in _rows(network, "tasks") if row["actor_id"] in alive]
    assert {row["name"] for row in ours if row["type"] == "ACTOR_CREATION_TASK"}
    assert [row["name"] for row in ours if row["state"] == "FAILED"] == []
    assert [row["name"] for row in ours if row["name"].endswith("watch")] == []


def test_jobs_of_the_dashboard_say_whose_they_are(network: RunningNetwork) -> None:
    find = partial(_rows, network, "jobs")
    (metadata,) = {tuple(sorted(job["metadata"].items())) for job in find()}
    assert ("part", "ray-deploy") in metadata
    assert ("org-1", "MyOrg1MSP") in metadata
