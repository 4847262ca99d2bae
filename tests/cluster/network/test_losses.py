"""What a plan in the cluster survives: each loss in its middle, and it ends DONE."""

import time
from collections.abc import Callable
from uuid import UUID

import pytest
import substra
from substra.sdk.models import ComputePlan, ComputePlanStatus, ComputeTaskStatus, FunctionStatus

from kuberay.shapes import Pod
from tests.cluster.network.installed import Network, say
from tests.cluster.network.test_plan import WAIT_S, built
from tests.e2e.playground import Playground
from tests.e2e.waiting import wait_for

SECONDS = 3.0  # of each task
LENGTH = 4


def worker(network: Network) -> Pod:
    """The pod that runs a task."""
    return network.workers(network.organizations[0])[0]


def head(network: Network) -> Pod:
    labels = {"ray.io/node-type": "head"}
    return network.labelled(network.organizations[0].compute, labels)[0]


def control(network: Network) -> Pod:
    return network.labelled(network.place, {"app.kubernetes.io/component": "control"})[0]


def server(network: Network) -> Pod:
    labels = {
        "app.kubernetes.io/component": "server",
        "app.kubernetes.io/name": "substra-backend",
    }
    return network.labelled(network.place, labels)[0]


@pytest.mark.parametrize("lost", [worker, control, server, head])
def test_plan_ends_done(
    network: Network, playground: Playground, lost: Callable[[Network], Pod]
) -> None:
    built(playground, "linger")
    data = playground.data([SECONDS])
    tasks = playground.chain(LENGTH, [data], "linger")
    plan = playground.submit(tasks)
    wait_for(lambda: runs(playground, plan, tasks[1].task_id), "the second task runs", WAIT_S)
    pod, killed = lost(network), time.monotonic()
    network.kill(pod)
    ended = finished(playground, plan)
    took = time.monotonic() - killed
    say(f"{lost.__name__} lost in the middle: plan ended {took:.1f} s later, "
        f"{took - SECONDS * (LENGTH - 1):.1f} s more than its tasks need")  # fmt: skip
    assert ended.status == ComputePlanStatus.done, ended
    assert [playground.model(task)["value"] for task in tasks] == [1, 2, 3, 4]


def finished(playground: Playground, plan: ComputePlan) -> ComputePlan:
    """The ended plan; a client asks again when the only API is away for a moment."""
    client, over = playground.clients[0], (ComputePlanStatus.done, ComputePlanStatus.failed)

    def ended() -> ComputePlan | None:
        try:
            found = client.get_compute_plan(plan.key)
        except (substra.exceptions.RequestException, OSError):
            return None
        return found if found.status in over else None

    return wait_for(ended, "the plan's end", WAIT_S)


def runs(playground: Playground, plan: ComputePlan, task: str) -> bool:
    found = playground.clients[0].get_task(str(UUID(task)))
    assert found.status is not ComputeTaskStatus.failed, plan
    return found.status is ComputeTaskStatus.executing


def test_lost_build_is_built_again(network: Network, playground: Playground) -> None:
    builds, client = network.organizations[0].builds, playground.clients[0]
    key = playground.register("fail", extra="RUN sleep 5\n")
    kind = {"substra.ai/pod-type": "image-build"}
    pods = wait_for(lambda: network.labelled(builds, kind), "its pod", WAIT_S)
    began = time.monotonic()
    network.kill(pods[0])
    states = (FunctionStatus.ready, FunctionStatus.failed)
    wait_for(lambda: client.get_function(key).status in states, "its end", WAIT_S)
    assert client.get_function(key).status is FunctionStatus.ready
    say(f"Kaniko's pod lost: the function is READY {time.monotonic() - began:.1f} s later")


def test_plan_that_comes_while_the_head_is_away_ends_done(
    network: Network, playground: Playground
) -> None:
    built(playground, "add")
    data = playground.data([1])
    network.kill(head(network))
    began = time.monotonic()
    (task,) = playground.chain(1, [data])
    assert playground.run([task], WAIT_S).status == ComputePlanStatus.done
    say(f"head lost, then a plan: ended {time.monotonic() - began:.1f} s later")
    assert playground.model(task)["value"] == 2
