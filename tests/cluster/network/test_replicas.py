"""Two of each: an API pod lost under a load of reads, two control planes; and what all of it asks for."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from substra.sdk.models import ComputePlanStatus

from backend.engine.compute.queue import LEASE_S
from kuberay.shapes import Pod
from tests.cluster.charts.helm import rendered
from tests.cluster.network.installed import Network, say
from tests.cluster.network.processes import kill_processes, memory_mb
from tests.cluster.network.test_losses import finished, runs
from tests.cluster.network.test_plan import WAIT_S, built
from tests.e2e.playground import Playground
from tests.e2e.waiting import wait_for

GOAL_MIB = 2560
UNITS = {"Mi": 1, "Gi": 1024}
READERS = 3  # of each kind
CALM_S = 5.0
SECONDS = 2.0
LENGTH = 5


def parts(network: Network, component: str) -> list[Pod]:
    """Pods of the first organization, without those that are leaving."""
    labels = {
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/instance": network.organizations[0].name,
    }
    return network.labelled(network.place, labels)


def ready(pod: Pod) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)


def two_ready(network: Network, component: str) -> bool:
    found = parts(network, component)
    return len(found) == 2 and all(map(ready, found))


def mebibytes(quantity: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def test_control_plane_at_rest(network: Network) -> None:
    """What the charts ask for by default, and what the pods take here."""
    organization = network.organizations[0]
    values = {
        name: value
        for name, value in network.values[organization.name].items()
        if name not in ("server", "control")
    }
    values["server"] = {"defaultDomain": organization.domain}
    asked: dict[str, float] = {}
    for document in rendered("substra-backend", values):
        if document["kind"] == "Deployment":
            spec, count = document["spec"]["template"]["spec"], document["spec"]["replicas"]
            name, options = document["metadata"]["name"].rpartition("-")[2], spec["containers"]
        elif document["kind"] == "RayCluster":
            spec, count = document["spec"]["headGroupSpec"]["template"]["spec"], 1
            autoscaler = document["spec"]["autoscalerOptions"]
            name, options = "compute head", [*spec["containers"], autoscaler]
        else:
            continue
        each = [mebibytes(it["resources"]["requests"]["memory"]) for it in options]
        asked[f"{count} {name}"] = count * sum(each)
    words = ", ".join(f"{name} {size:.0f}" for name, size in asked.items())
    say(f"requested at rest: {sum(asked.values()):.0f} MiB ({words})")
    heads = network.labelled(organization.compute, {"ray.io/node-type": "head"})
    for name, pods in (
        ("server", parts(network, "server")),
        ("control", parts(network, "control")),
        ("compute head", heads),
    ):
        say(f"  {name}: {', '.join(f'{memory_mb(pod):.0f} MB PSS' for pod in pods)}")
    assert len(asked) == 3
    assert sum(asked.values()) <= GOAL_MIB


@dataclass
class Reads:
    """A load of reads: how many were answered, and when which failed."""

    address: str
    answered: int = 0
    failed: list[tuple[float, str]] = field(default_factory=list)  # monotonic seconds, why
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, client: httpx.Client, kept: bool) -> None:
        """One after the other, on one connection or each on its own."""
        while not self.stop.is_set():
            try:
                status = client.get("/compute_plan/").status_code
                if status != 200:
                    self.failed.append((time.monotonic(), str(status)))
            except httpx.TransportError as error:
                self.failed.append((time.monotonic(), repr(error)))
            self.answered += 1
            if not kept:
                client.close()
                client = self.client(client.headers)

    def client(self, headers: httpx.Headers) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers=headers, timeout=10, trust_env=False)


@contextmanager
def reading(network: Network) -> Iterator[Reads]:
    """Readers with connections of their own, kept or new for each request as the SDK has them."""
    organization = network.organizations[0]
    reads = Reads(network.address(organization.service))
    log_in = {"username": organization.name, "password": organization.password}
    token = httpx.post(f"{reads.address}/api-token-auth/", data=log_in, trust_env=False).json()
    headers = httpx.Headers(
        {"Authorization": f"Token {token['token']}", "Accept": "application/json;version=0.0"}
    )
    threads = [
        threading.Thread(target=reads.run, args=(reads.client(headers), kept))
        for kept in (True, False) * READERS
    ]
    for thread in threads:
        thread.start()
    try:
        yield reads
    finally:
        reads.stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def two_servers(network: Network) -> Iterator[None]:
    organization = network.organizations[0]
    network.upgrade(organization, server={"replicaCount": 2})
    wait_for(lambda: two_ready(network, "server"), "two pods of the API", WAIT_S)
    yield
    network.upgrade(organization, server={"replicaCount": 1})


def lose(network: Network, take_away: Callable[[Pod], None]) -> tuple[Reads, float]:
    """One of the two is lost under load, until there are two again and for a while after it."""
    with reading(network) as reads:
        wait_for(lambda: reads.answered > 200, "the load", WAIT_S)
        pod, began = parts(network, "server")[0], time.monotonic()
        take_away(pod)
        wait_for(lambda: not two_ready(network, "server"), "one is missing", WAIT_S)
        wait_for(lambda: two_ready(network, "server"), "two again", WAIT_S)
        again = time.monotonic()
        wait_for(lambda: time.monotonic() - again > CALM_S, "a while", WAIT_S)
    return reads, began


def test_api_pod_lost_under_load(network: Network, two_servers: None) -> None:
    reads, _ = lose(network, network.delete)
    say(f"API pod deleted under {2 * READERS} readers: {reads.answered} reads, "
        f"{len(reads.failed)} failed {[why for _, why in reads.failed][:3]}")  # fmt: skip
    assert reads.failed == []
    reads, killed = lose(network, kill_processes)
    late = [each for each in reads.failed if each[0] - killed > CALM_S]
    last = max((moment - killed for moment, _ in reads.failed), default=0)
    say(f"API pod killed under {2 * READERS} readers: {reads.answered} reads, "
        f"{len(reads.failed)} failed, the last {last:.1f} s after it")  # fmt: skip
    assert late == []


@pytest.fixture
def two_controls(network: Network) -> Iterator[None]:
    organization = network.organizations[0]
    network.scale(f"{organization.name}-substra-backend-control", 2)
    wait_for(lambda: two_ready(network, "control"), "two control planes", WAIT_S)
    yield
    network.scale(f"{organization.name}-substra-backend-control", 1)
    wait_for(lambda: len(parts(network, "control")) == 1, "one control plane", WAIT_S)


def started(network: Network, pod: Pod) -> bool:
    """True when it runs the loop that schedules."""
    log = network.log(pod, "control")
    return any("loop_started" in line and "scheduler" in line for line in log.splitlines())


def followed(network: Network) -> bool:
    """True when a control plane that is there has the loops; one that starts has no log yet."""
    return any(started(network, pod) for pod in parts(network, "control") if ready(pod))


def test_two_control_planes(network: Network, playground: Playground, two_controls: None) -> None:
    """One works. Killed in the middle of a plan, it is followed by another within the lease's time."""
    built(playground, "linger")
    (lost,) = [pod for pod in parts(network, "control") if started(network, pod)]
    (heir,) = [pod for pod in parts(network, "control") if not started(network, pod)]
    data = playground.data([SECONDS])
    tasks = playground.chain(LENGTH, [data], "linger")
    plan = playground.submit(tasks)
    wait_for(lambda: runs(playground, plan, tasks[1].task_id), "the second task runs", WAIT_S)
    assert not started(network, heir)
    killed = time.monotonic()
    kill_processes(lost)  # so that it gives no lease back
    network.kill(lost)
    wait_for(lambda: followed(network), "another takes over", WAIT_S)
    took = time.monotonic() - killed
    ended = finished(playground, plan)
    say(f"one of two control planes killed: another has its loops {took:.1f} s later "
        f"(lease {LEASE_S:.0f} s)")  # fmt: skip
    assert ended.status == ComputePlanStatus.done, ended
    assert [playground.model(task)["value"] for task in tasks] == list(range(1, LENGTH + 1))
    assert took < LEASE_S + CALM_S
