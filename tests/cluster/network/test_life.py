"""An organization's release in the cluster, upgraded in the middle of a plan."""

import time

from substra.sdk.models import ComputePlanStatus

from tests.cluster.network.installed import Network, say
from tests.cluster.network.test_losses import LENGTH, SECONDS, finished, runs, worker
from tests.cluster.network.test_plan import WAIT_S, built
from tests.e2e.playground import Playground
from tests.e2e.waiting import wait_for


def test_upgrade_keeps_groups_and_plans(network: Network, playground: Playground) -> None:
    organization = network.organizations[0]
    built(playground, "linger")
    data = playground.data([SECONDS])
    tasks = playground.chain(LENGTH, [data], "linger")
    plan = playground.submit(tasks)
    wait_for(lambda: runs(playground, plan, tasks[0].task_id), "the first task runs", WAIT_S)
    groups = network.groups(organization)
    pod = worker(network)
    began = time.monotonic()
    network.upgrade(organization, config={"PAGINATION_MAX_PAGE_SIZE": 77})
    ended = finished(playground, plan)
    assert ended.status == ComputePlanStatus.done, ended
    say(f"upgrade and the plan's end: {time.monotonic() - began:.1f} s")
    assert network.groups(organization) == groups
    assert playground.model(tasks[-1])["value"] == LENGTH
    wait_for(lambda: pod not in network.workers(organization), "its pod is retired", WAIT_S)
