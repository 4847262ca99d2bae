"""An organization's release in the cluster: upgraded in the middle of a plan, and gone without a trace."""

import time
from datetime import UTC, datetime

from substra.sdk.models import ComputePlanStatus

from kuberay.shapes import Pod
from tests.cluster.network.installed import Network, say
from tests.cluster.network.test_losses import LENGTH, SECONDS, finished, runs
from tests.cluster.network.test_plan import WAIT_S, built
from tests.e2e.playground import Playground
from tests.e2e.waiting import wait_for

SETTLED_S = 10
KINDS = ("apis/ray.io/v1/rayclusters", "api/v1/pods", "api/v1/secrets", "api/v1/services")


def test_upgrade_keeps_groups_and_plans(network: Network, playground: Playground) -> None:
    organization = network.organizations[0]
    built(playground, "linger")
    data = playground.data([SECONDS])
    tasks = playground.chain(LENGTH, [data], "linger")
    plan = playground.submit(tasks)
    wait_for(lambda: runs(playground, plan, tasks[0].task_id), "the first task runs", WAIT_S)
    groups = network.groups(organization)
    (pod,) = network.workers(organization)
    began = time.monotonic()
    network.upgrade(organization, config={"PAGINATION_MAX_PAGE_SIZE": 77})
    ended = finished(playground, plan)
    assert ended.status == ComputePlanStatus.done, ended
    say(f"upgrade and the plan's end: {time.monotonic() - began:.1f} s")
    assert network.groups(organization) == groups
    assert playground.model(tasks[-1])["value"] == LENGTH
    wait_for(lambda: pod not in network.workers(organization), "its pod is retired", WAIT_S)


def settled(pod: Pod) -> bool:
    """Ready for a while: a warm pod waits for hours, not for the moment at which Ray answers first."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] == "True":
            since = datetime.fromisoformat(condition["lastTransitionTime"])
            return (datetime.now(UTC) - since).total_seconds() > SETTLED_S
    return False


def test_a_warm_pod_starts_a_plan_soon(network: Network, playground: Playground) -> None:
    organization = network.organizations[0]
    built(playground, "add")
    data = playground.data([1])
    network.upgrade(organization, compute={"warmPods": 1})
    task = playground.chain(1, [data])[0]
    assert playground.run([task], WAIT_S).status == ComputePlanStatus.done  # its image is known now

    def warm() -> bool:
        pods = filter(settled, network.workers(organization))
        there = {pod["metadata"]["labels"]["ray.io/group"] for pod in pods}
        return there == set(network.groups(organization))

    wait_for(warm, "a warm pod of each image", WAIT_S)
    task, submitted = playground.chain(1, [data])[0], time.time()
    assert playground.run([task], WAIT_S).status == ComputePlanStatus.done
    took = playground.model(task)["began"] - submitted
    say(f"first task of a plan with a warm pod, to its function's first line: {took:.1f} s")
    network.upgrade(organization, compute={"warmPods": 0})
    wait_for(lambda: not network.workers(organization), "no pod is left", WAIT_S)
    assert took < 10


def test_uninstalled_it_leaves_nothing(network: Network, playground: Playground) -> None:
    organization = network.organizations[0]
    built(playground, "linger")
    assert any("fn-" in name for name in network.names(organization.compute, KINDS[2]))
    network.uninstall(organization)
    for path in KINDS:
        wait_for(
            lambda path=path: not network.names(organization.compute, path),  # type: ignore[misc]
            f"no {path} is left",
            WAIT_S,
        )
    assert [network.names(organization.compute, path) for path in KINDS] == [set()] * len(KINDS)
