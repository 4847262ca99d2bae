"""A Kubernetes API with one RayCluster, and Ray's Jobs API, in memory: enough to see what the pool does.

Nothing moves by itself: a test plays operator, autoscaler, kubelet and Ray.
"""

import base64
import copy
import json
from collections.abc import Sequence
from typing import Any

from backend.engine.compute.cluster.causes import Cause
from backend.engine.compute.cluster.jobs import Jobs
from backend.engine.compute.cluster.planning import Demand
from backend.engine.compute.cluster.template import FunctionImage, PodShape
from backend.engine.compute.kuberay import KubeRayPool, PoolOptions
from tests.unit.kuberay.api_server import Answer, ApiServer, Request, status

CLUSTER, NAMESPACE = "compute", "here"


def image(letter: str) -> FunctionImage:
    return FunctionImage(f"registry/function@sha256:{letter * 64}", "/home/user")


class SmallCluster:
    """Holds the server and what a test moves: `groups`, `pods`, `jobs`, `secrets`."""

    def __init__(self) -> None:
        self.cluster: dict[str, Any] = {
            "metadata": {"name": CLUSTER, "uid": "u", "resourceVersion": "1", "generation": 1},
            "spec": {"workerGroupSpecs": []},
            "status": {"observedGeneration": 1},
        }
        self.pods: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.stopped: list[str] = []
        self.stuck: set[str] = set()  # jobs whose node died: Ray has not noticed
        self.away = False
        self.server = ApiServer(self._answer)

    def pool(self, work: "Told", **options: Any) -> KubeRayPool:
        given = PoolOptions(NAMESPACE, CLUSTER, session={"url": "http://api"}, **options)
        jobs = Jobs(self.server.url)
        return KubeRayPool(self.server.connection, jobs, work, PodShape("runner:1"), given)

    @property
    def groups(self) -> dict[str, dict[str, Any]]:
        return {g["groupName"]: g for g in self.cluster["spec"]["workerGroupSpecs"]}

    def observe(self) -> None:
        """The operator has seen the newest specification."""
        self.cluster["status"]["observedGeneration"] = self.cluster["metadata"]["generation"]

    def start_pod(self, group: str, name: str, **status: Any) -> None:
        labels = {
            "ray.io/cluster": CLUSTER,
            "ray.io/group": group,
            "ray.io/node-type": "worker",
        }
        self.pods[name] = {
            "metadata": {"name": name, "uid": name, "labels": labels, "resourceVersion": "1"},
            "spec": {},
            "status": {"phase": "Running", "podIP": f"ip-{name}", **status},
        }

    def run_job(self, id: str, pod: str, status: str = "RUNNING") -> None:  # noqa: A002
        self.jobs[id]["status"] = status
        self.jobs[id]["driver_agent_http_address"] = f"http://ip-{pod}:52365"

    def _answer(self, request: Request) -> Answer:
        if self.away:
            return status(503, "ServiceUnavailable")
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["api", "jobs"]:
            return self._jobs(request, parts[2:])
        kind = next(p for p in ("rayclusters", "pods", "secrets") if p in parts)
        name = parts[-1] if parts[-1] != kind else None
        if kind == "rayclusters":
            return self._cluster(request)
        store = self.pods if kind == "pods" else self.secrets
        if request.method == "POST":
            body = request.body
            encoded = {
                key: base64.b64encode(value.encode()).decode()
                for key, value in body.pop("stringData", {}).items()
            }
            store[body["metadata"]["name"]] = {**body, "data": encoded}
            return Answer(201, store[body["metadata"]["name"]])
        if name is None:
            wanted = dict(w.split("=") for w in request.query["labelSelector"].split(","))
            items = [o for o in store.values() if wanted.items() <= o["metadata"]["labels"].items()]
            return Answer(body={"metadata": {"resourceVersion": "1"}, "items": items})
        if name not in store:
            return status(404, "NotFound")
        return Answer(body=store.pop(name) if request.method == "DELETE" else store[name])

    def _cluster(self, request: Request) -> Answer:
        if request.method == "PATCH":
            changed = copy.deepcopy(self.cluster)
            for operation in request.body:
                if not _apply(changed, operation):
                    return status(422, "Invalid")
            meta = changed["metadata"]
            meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)
            meta["generation"] += 1
            self.cluster = changed
        return Answer(body=self.cluster)

    def _jobs(self, request: Request, rest: list[str]) -> Answer:
        if request.method == "POST" and not rest:
            self.jobs[request.body["submission_id"]] = {**request.body, "status": "PENDING"}
            return Answer(body={})
        if request.method == "POST":
            self.stopped.append(rest[0])
            if rest[0] in self.jobs and rest[0] not in self.stuck:
                self.jobs[rest[0]]["status"] = "STOPPED"
            return Answer(body={})
        if request.method == "DELETE" and rest[0] in self.stuck:
            return Answer(400, {})
        if request.method == "DELETE":
            return Answer(200 if self.jobs.pop(rest[0], None) else 404, {})
        return Answer(body=list(self.jobs.values()))


def _apply(value: dict[str, Any], operation: dict[str, Any]) -> bool:
    *way, last = operation["path"].strip("/").split("/")
    place: Any = value
    for word in way:
        place = place[int(word) if isinstance(place, list) else word]
    if operation["op"] == "test":
        return bool(place[last] == operation["value"])
    if operation["op"] == "remove":
        del place[int(last) if isinstance(place, list) else last]
    elif isinstance(place, list):
        place.append(operation["value"])
    else:
        place[last] = operation["value"]
    return True


class Told:
    """What the pool asks and tells."""

    def __init__(self) -> None:
        self.wanted: list[Demand] = []
        self.known: dict[str, FunctionImage] = {}
        self.sessions: dict[str, tuple[str, str]] = {}  # id -> plan, token
        self.over: list[tuple[str, Cause | None]] = []
        self.causes: dict[str, Cause | None] = {}

    def want(self, plan: str, function: FunctionImage, tasks: int = 1) -> None:
        self.known[function.group] = function
        self.wanted.append(Demand(plan, function.group, tasks))

    def demands(self) -> Sequence[Demand]:
        return self.wanted

    def images(self) -> dict[str, FunctionImage]:
        return self.known

    def opened(self, session: str, token: str, plan: str, group: str) -> None:
        self.sessions[session] = (plan, token)

    def ended(self, session: str, found: Cause | None) -> None:
        self.over.append((session, found))

    def waits(self, group: str, found: Cause | None) -> None:
        self.causes[group] = found


def options_in(secret: dict[str, Any]) -> dict[str, Any]:
    """The options that a group's pods read."""
    found: dict[str, Any] = json.loads(base64.b64decode(secret["data"]["options.json"]))
    return found
