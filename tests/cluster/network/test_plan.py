"""A plan of the published SDK in a cluster: images by Kaniko, tasks in pods, groups from zero and back."""

import itertools
import statistics
import time
from datetime import UTC, datetime

import pytest
from substra.sdk.models import ComputePlanStatus, FunctionStatus

from kuberay.shapes import Pod
from tests.cluster.network.installed import Network, say
from tests.e2e.playground import Data, Playground, output_of
from tests.e2e.waiting import wait_for

WAIT_S = 300.0
SETTLED_S = 10


def built(playground: Playground, name: str) -> str:
    """The function's key, once its image is built."""
    began, key = time.monotonic(), playground.function(name)
    client = playground.clients[0]
    wait_for(
        lambda: client.get_function(key).status in (FunctionStatus.ready, FunctionStatus.failed),
        f"{name} is built",
        WAIT_S,
    )
    assert client.get_function(key).status is FunctionStatus.ready
    say(f"function {name} registered to READY: {time.monotonic() - began:.1f} s")
    return key


def test_first_task_of_a_new_image_and_the_next_ones(
    network: Network, playground: Playground, data: list[Data]
) -> None:
    organization = network.organizations[0]
    built(playground, "add")
    assert network.workers(organization) == []
    submitted = time.time()
    tasks = playground.chain(12, data[:1])
    plan = playground.run(tasks, WAIT_S)
    ended = time.time()
    assert plan.status == ComputePlanStatus.done, plan
    models = [playground.model(task) for task in tasks]
    assert [model["value"] for model in models] == [4 * (n + 1) for n in range(12)]
    began = [model["began"] for model in models]
    say(f"first task, plan submitted to the function's first line: {began[0] - submitted:.1f} s")
    gaps = [after - before for before, after in itertools.pairwise(began)]
    above = [after["began"] - before["ended"] for before, after in itertools.pairwise(models)]
    say(f"next tasks of the chain, first line to first line: p50 {statistics.median(gaps):.3f} s")
    say(
        f"  from a function's end to the next one's first line: p50 {statistics.median(above):.3f} s"
    )
    wait_for(lambda: not network.workers(organization), "no pod is left", WAIT_S)
    say(f"plan's end to no pod: {time.time() - ended:.1f} s (idle time-out 5 s)")
    assert len(network.groups(organization)) == 1  # which is kept for the next plan


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


def test_train_aggregate_test_on_every_organization(
    network: Network, playground: Playground, data: list[Data]
) -> None:
    for name in ("add", "aggregate", "evaluate"):
        built(playground, name)
    began = time.monotonic()
    trained = [
        playground.task(playground.function("add"), each.inputs(), worker)
        for worker, each in enumerate(data)
    ]
    total = playground.task(playground.function("aggregate"), [*map(output_of, trained)])
    again = [
        playground.task(playground.function("add"), [*each.inputs(), output_of(total)], worker)
        for worker, each in enumerate(data)
    ]
    tested = [
        playground.task(
            playground.function("evaluate"),
            [*each.inputs(), output_of(before)],
            worker,
            outputs=("score", "count"),
        )
        for worker, (each, before) in enumerate(zip(data, again, strict=True))
    ]
    plan = playground.run([*trained, total, *again, *tested], WAIT_S)
    say(f"train, aggregate, train, test on {len(data)}: {time.monotonic() - began:.1f} s")
    assert plan.status == ComputePlanStatus.done, plan
    found = playground.clients[0].get_performances(plan.key)
    scores = [
        performance
        for name, performance in zip(found.identifier, found.performance, strict=True)
        if name == "score"
    ]
    assert scores == [pytest.approx((4 * len(data) + 4) / 100)] * len(data)
    for organization in network.organizations:
        wait_for(lambda o=organization: not network.workers(o), "no pod is left", WAIT_S)  # type: ignore[misc]
