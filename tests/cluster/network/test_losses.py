"""What a plan in the cluster survives: each loss in its middle, and it ends DONE."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
import substra
from substra.sdk.models import ComputePlan, ComputePlanStatus, ComputeTaskStatus, FunctionStatus

from kuberay.shapes import Pod
from tests.cluster.network.installed import Network, say
from tests.cluster.network.processes import kill_processes
from tests.cluster.network.test_plan import WAIT_S, built
from tests.e2e.playground import Playground
from tests.e2e.waiting import wait_for

SECONDS = 3.0  # of each task
LENGTH = 4
EXPECTED = [ComputePlanStatus.done, 1, 2, 3, 4]
STORE_AWAY_S = 60.0


def worker(network: Network) -> Pod:
    """The pod that runs a task: the last to come, since one of an earlier plan may still be leaving."""
    found = network.workers(network.organizations[0])
    return max(found, key=lambda pod: pod["metadata"]["creationTimestamp"])


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


def ledger(network: Network) -> Pod:
    labels = {"app.kubernetes.io/name": "substra-orchestrator"}
    return network.labelled(network.place, labels)[0]


@pytest.mark.parametrize("lost", [worker, control, server, head, ledger])
def test_plan_ends_done(
    network: Network, playground: Playground, lost: Callable[[Network], Pod]
) -> None:
    with chain_at_work(playground, lost.__name__) as chain:
        network.kill(lost(network))
    assert chain == EXPECTED


def test_plan_ends_done_when_the_event_bridge_is_killed(
    network: Network, playground: Playground
) -> None:
    """Its process, as by the kernel: the pod stays, and starts its container again."""
    pod = control(network)
    with chain_at_work(playground, "event bridge") as chain:
        kill_processes(pod)
    assert chain == EXPECTED
    again = control(network)
    assert again["metadata"]["uid"] == pod["metadata"]["uid"]
    (status,) = again["status"]["containerStatuses"]
    assert status["restartCount"] == 1


def test_plan_ends_done_when_the_object_store_is_away_for_a_minute(
    network: Network, playground: Playground
) -> None:
    with chain_at_work(playground, "object store", away_s=STORE_AWAY_S) as chain:
        network.store.stop()
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > STORE_AWAY_S, "a minute", STORE_AWAY_S + 5)
        network.store.start()
    assert chain == EXPECTED


@contextmanager
def chain_at_work(playground: Playground, lost: str, away_s: float = 0) -> Iterator[list[object]]:
    """A chain whose second task runs when the block takes something away; yields what comes of it."""
    built(playground, "linger")
    data = playground.data([SECONDS])
    tasks = playground.chain(LENGTH, [data], "linger")
    plan = playground.submit(tasks)
    wait_for(lambda: runs(playground, plan, tasks[1].task_id), "the second task runs", WAIT_S)
    killed = time.monotonic()
    outcome: list[object] = []
    yield outcome
    ended = finished(playground, plan)
    took = time.monotonic() - killed
    say(f"{lost} lost in the middle: plan ended {took:.1f} s later, "
        f"{took - away_s - SECONDS * (LENGTH - 1):.1f} s more than its tasks need")  # fmt: skip
    outcome += [ended.status, *(playground.model(task)["value"] for task in tasks)]


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
