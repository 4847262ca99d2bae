"""A compute cluster for a test: a real RayCluster, the pool on it, the API as pods see it."""

import base64
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend.engine.compute.cluster.causes import Cause
from backend.engine.compute.cluster.jobs import Jobs, JobsUnavailable
from backend.engine.compute.cluster.planning import Demand
from backend.engine.compute.cluster.template import FunctionImage, PodShape
from backend.engine.compute.kuberay import KubeRayPool, PoolOptions
from kuberay import building
from kuberay.errors import KubeError
from kuberay.resources import PODS, RAY_CLUSTERS, SECRETS, Resource
from kuberay.shapes import GROUP_LABEL, Pod, RayCluster
from kuberay.status import head_ready
from kuberay.transport import Connection
from tests.cluster.conftest import NODE
from tests.unit.ray_jobs.pod.api import PodApi

WAIT_S = 240.0
CLUSTER = "compute"
RUNNER_RESTRICTED = {
    "runAsUser": 1000,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


def say(text: str) -> None:
    """A line of the report that `make cluster-test` prints."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def until(what: str, condition: Callable[[], Any], for_s: float = WAIT_S) -> Any:
    """The condition's first true value."""
    ends = time.monotonic() + for_s
    while time.monotonic() < ends:
        value = condition()
        if value:
            return value
        threading.Event().wait(0.1)
    raise AssertionError(f"not within {for_s:g} s: {what}")


class TestWork:
    """What the pool is told and tells: a work queue in memory, with an API of its own for the pods."""

    __test__ = False

    def __init__(self) -> None:
        self.api = PodApi(b"", NODE)
        self.wanted: dict[tuple[str, str], int] = {}  # (plan, group) -> tasks
        self.known: dict[str, FunctionImage] = {}
        self.plans: dict[str, str] = {}
        self.over: dict[str, Cause | None] = {}
        self.causes: dict[str, Cause | None] = {}

    def demands(self) -> Sequence[Demand]:
        return [Demand(plan, group, tasks) for (plan, group), tasks in self.wanted.items() if tasks]

    def images(self) -> dict[str, FunctionImage]:
        return self.known

    def opened(self, session: str, token: str, plan: str, group: str) -> None:
        self.plans[session] = plan
        self.api.tokens[session] = token
        self.api.plans[session] = plan

    def ended(self, session: str, found: Cause | None) -> None:
        self.over.setdefault(session, found)
        self.api.plans.pop(session, None)

    def waits(self, group: str, found: Cause | None) -> None:
        self.causes[group] = found


@dataclass
class Compute:
    connection: Connection
    namespace: str
    runner: str
    work: TestWork = field(default_factory=TestWork)

    def start(self) -> float:
        """Make the Ray cluster; seconds until its head is ready."""
        began = time.monotonic()
        self.clusters.apply(self._cluster(), manager="test")
        self.clusters.wait(CLUSTER, head_ready, for_s=WAIT_S, what="the head")
        head = self.pods({"ray.io/node-type": "head"})[0]
        url = f"http://{(head.get('status') or {})['podIP']}:8265"
        self.jobs = Jobs(url, self._token)
        until("the Jobs API", self._answers)
        return time.monotonic() - began

    def pool(self, **options: Any) -> KubeRayPool:
        shape = options.pop("shape", None) or PodShape(
            self.runner,
            runner_requests={"cpu": "100m", "memory": "256Mi"},
            function_requests={"cpu": "100m", "memory": "64Mi"},
            function_limits={"memory": "512Mi"},
        )
        session = {"url": self.work.api.url, "idle_s": options.pop("idle_s", 3.0), "wait_s": 2.0}
        given = {"idle_timeout_s": 60, "session": session, **options}
        return KubeRayPool(
            self.connection,
            self.jobs,
            self.work,
            shape,
            PoolOptions(self.namespace, CLUSTER, **given),
        )

    def want(self, plan: str, image: FunctionImage, tasks: int = 1) -> None:
        self.work.known[image.group] = image
        self.work.wanted[plan, image.group] = tasks

    def forget(self, plan: str) -> None:
        for key in [key for key in self.work.wanted if key[0] == plan]:
            del self.work.wanted[key]

    @property
    def clusters(self) -> Resource[RayCluster]:
        return Resource(self.connection, RAY_CLUSTERS, self.namespace)

    def pods(self, labels: dict[str, str]) -> list[Pod]:
        return Resource(self.connection, PODS, self.namespace).all(labels)

    def workers(self, group: str) -> list[Pod]:
        return self.pods({GROUP_LABEL: group})

    def delete_pod(self, name: str) -> None:
        Resource(self.connection, PODS, self.namespace).delete(name, grace_s=0)

    def read(self, container: str, pod: str) -> str:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        return self.connection.text(path, {"container": container})

    def _answers(self) -> bool:
        try:
            self.jobs.all()
        except JobsUnavailable:
            return False
        return True

    def _token(self) -> str:
        secret = Resource(self.connection, SECRETS, self.namespace).get(CLUSTER)
        (value,) = (secret.get("data") or {}).values()
        return base64.b64decode(value).decode()

    def _cluster(self) -> RayCluster:
        container = {
            "name": "ray-head",
            "image": self.runner,
            "securityContext": RUNNER_RESTRICTED,
            "resources": {
                "requests": {"cpu": "200m", "memory": "1Gi"},
                "limits": {"cpu": "2", "memory": "3Gi"},
            },
        }
        pod = {
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        }
        scaling = building.autoscaler(idle_timeout_s=60)
        scaling["securityContext"] = RUNNER_RESTRICTED
        spec = building.cluster_spec(
            building.head_group({"spec": pod}), ray_version="2.60.0", scaling=scaling
        )
        return building.ray_cluster(CLUSTER, spec)


class Turning:
    """The pool's loop in a thread, as its actor runs it."""

    def __init__(self, pool: KubeRayPool, pause_s: float = 0.3) -> None:
        self._pool = pool
        self._pause_s = pause_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Turning":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopped.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                again = self._pool.turn()
            except (KubeError, JobsUnavailable) as error:
                say(f"    turn: {error}")
                again = False
            if not again:
                self._stopped.wait(self._pause_s)


def describe(pod: Pod) -> str:
    """What a failed test wants to know of a pod."""
    status = pod.get("status") or {}
    return json.dumps({"phase": status.get("phase"), "containers": status.get("containerStatuses")})
