"""A ledger and organizations, installed by the charts as an operator would; the SDK talks to them."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import substra

from kuberay.resources import PODS, RAY_CLUSTERS, Resource
from kuberay.shapes import Pod
from kuberay.status import head_ready
from kuberay.transport import Connection
from tests.cluster.charts.conftest import Database
from tests.cluster.charts.helm import CHARTS, helm
from tests.cluster.charts.values import (
    LEDGER,
    PORT,
    kaniko,
    ledger_database,
    of_ledger,
    of_organization,
    outside,
    registry,
)
from tests.cluster.conftest import NODE
from tests.cluster.storage.minio_server import MinioServer

WAIT_S = 240.0


def say(text: str) -> None:
    """A line of the report that `make cluster-test` prints."""
    sys.stdout.write(f"  {text}\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Organization:
    """One organization's release: its namespaces, and its user."""

    number: int
    place: str
    builds: str
    compute: str

    @property
    def name(self) -> str:
        return f"org-{self.number}"

    @property
    def msp_id(self) -> str:
        return f"MyOrg{self.number}MSP"

    @property
    def cluster(self) -> str:
        return f"{self.name}-compute"

    @property
    def service(self) -> str:
        return f"{self.name}-substra-backend-server"

    @property
    def password(self) -> str:
        return f"p@sswr0d{43 + self.number}"

    @property
    def domain(self) -> str:
        return f"http://{self.service}.{self.place}:{PORT}"


@dataclass
class Network:
    connection: Connection
    place: str
    organizations: list[Organization]
    store: MinioServer
    new_database: Callable[[], Database]
    make_secret: Callable[..., None]
    values: dict[str, dict[str, Any]] = field(default_factory=dict)

    def install(self) -> None:
        """Install the ledger, then all organizations, and wait for the heads of their clusters."""
        members = [organization.msp_id for organization in self.organizations]
        self._install(LEDGER, "substra-orchestrator", self._ledger_values(members))
        for organization in self.organizations:
            self._install(organization.name, "substra-backend", self._values(organization))
        began = time.monotonic()
        for organization in self.organizations:
            clusters = Resource(self.connection, RAY_CLUSTERS, organization.compute)
            clusters.wait(organization.cluster, head_ready, for_s=WAIT_S, what="its head")
        say(f"heads of the compute clusters ready {time.monotonic() - began:.1f} s later")

    def upgrade(self, organization: Organization, **changes: dict[str, Any]) -> None:
        """The same release with other values, by their first name."""
        values = self.values[organization.name]
        changed = {name: {**values.get(name, {}), **change} for name, change in changes.items()}
        self._install(organization.name, "substra-backend", {**values, **changed})

    def uninstall(self, organization: Organization) -> None:
        helm("uninstall", organization.name, "--namespace", self.place, "--wait")

    def names(self, namespace: str, path: str) -> set[str]:
        """Names of objects; `path` as in `api/v1/secrets`."""
        group, _, plural = path.rpartition("/")
        found = self.connection.request("GET", f"/{group}/namespaces/{namespace}/{plural}")
        return {item["metadata"]["name"] for item in found["items"]}

    def client(self, organization: Organization) -> substra.Client:
        """The published SDK, logged in as the organization's user."""
        return substra.Client(
            backend_type="remote",
            url=self.address(organization.service),
            username=organization.name,
            password=organization.password,
            retry_timeout=60,
        )

    def address(self, service: str) -> str:
        """A Service as this machine reaches it."""
        path = f"/api/v1/namespaces/{self.place}/services/{service}"
        spec = self.connection.request("GET", path)["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def labelled(self, namespace: str, labels: dict[str, str]) -> list[Pod]:
        """Pods of this network with these labels, those that are ending left out."""
        found = Resource(self.connection, PODS, namespace).all(labels)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def workers(self, organization: Organization) -> list[Pod]:
        """Pods of function images, those that are ending included."""
        labels = {"ray.io/node-type": "worker"}
        return Resource(self.connection, PODS, organization.compute).all(labels)

    def groups(self, organization: Organization) -> list[str]:
        clusters = Resource(self.connection, RAY_CLUSTERS, organization.compute)
        specs = clusters.get(organization.cluster)["spec"].get("workerGroupSpecs") or []
        return [spec["groupName"] for spec in specs]

    def kill(self, pod: Pod) -> None:
        """As if its node had lost it: at once."""
        pods = Resource(self.connection, PODS, pod["metadata"]["namespace"])
        pods.delete(pod["metadata"]["name"], grace_s=0)

    def delete(self, pod: Pod) -> None:
        """As `kubectl delete` does: it is told to stop, and has its time."""
        pods = Resource(self.connection, PODS, pod["metadata"]["namespace"])
        pods.delete(pod["metadata"]["name"])

    def scale(self, deployment: str, replicas: int) -> None:
        path = f"/apis/apps/v1/namespaces/{self.place}/deployments/{deployment}/scale"
        scale = self.connection.request("GET", path)
        scale["spec"]["replicas"] = replicas
        self.connection.request("PUT", path, body=scale)

    def log(self, pod: Pod, container: str) -> str:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
        return self.connection.text(path, {"container": container})

    def _install(self, release: str, chart: str, values: dict[str, Any]) -> None:
        self.values[release] = values
        began = time.monotonic()
        path = str(CHARTS / chart)
        helm("upgrade", "--install", release, path, "--namespace", self.place, "--wait",
             "--timeout", "5m", values=values)  # fmt: skip
        say(f"{release} installed in {time.monotonic() - began:.1f} s")

    def _ledger_values(self, members: list[str]) -> dict[str, Any]:
        database = self._database("ledger-database")
        return {**of_ledger(*members), **ledger_database(database, "ledger-database")}

    def _values(self, organization: Organization) -> dict[str, Any]:
        user = f"{organization.name}-database"
        values = of_organization(organization.number, organization.domain)
        accounts = {
            "incomingOrganizations": [
                {"name": peer.msp_id, "secret": secret(peer, organization)}
                for peer in self.organizations
            ],
            "outgoingOrganizations": [
                {"name": peer.msp_id, "secret": secret(organization, peer)}
                for peer in self.organizations
            ],
        }
        return {
            **values,
            **outside(self._database(user), user, self.store, organization.name),
            "builder": {
                "enabled": True,
                "namespace": organization.builds,
                "egress": [{"to": [{"ipBlock": {"cidr": f"{NODE}/32"}}]}],
            },
            "kaniko": kaniko(),
            "containerRegistry": registry(f"network-test/{organization.builds}"),
            "compute": {
                "enabled": True,
                "namespace": organization.compute,
                "sessionIdle": 5,
                "idleTimeout": 5,
                "pods": 2,
                "runner": {"requests": {"cpu": "100m", "memory": "256Mi"}},
                "function": {
                    "requests": {"cpu": "100m", "memory": "64Mi"},
                    "limits": {"memory": "512Mi"},
                },
            },
            "addAccountOperator": {**values["addAccountOperator"], **accounts},
        }

    def _database(self, name: str) -> Database:
        made = self.new_database()
        self.make_secret(self.place, name, **made.user)
        return made


def secret(caller: Organization, called: Organization) -> str:
    """What `caller` shows to `called`."""
    return f"secret-of-{caller.number}-for-{called.number}"


@contextmanager
def namespaces(connection: Connection, count: int) -> Iterator[tuple[str, list[Organization]]]:
    """The network's own, and two for each organization; all of it is gone at the end."""
    run = uuid4().hex[:6]
    made: list[str] = []

    def make(name: str, level: str) -> str:
        labels = {"pod-security.kubernetes.io/enforce": level}
        body = {"metadata": {"name": name, "labels": labels}}
        connection.request("POST", "/api/v1/namespaces", body=body)
        made.append(name)
        return name

    try:
        place = make(f"network-{run}", "restricted")
        organizations = [
            Organization(
                number,
                place,
                make(f"builds-{number}-{run}", "baseline"),
                make(f"compute-{number}-{run}", "restricted"),
            )
            for number in range(1, count + 1)
        ]
        yield place, organizations
    finally:
        for name in made:
            connection.request("DELETE", f"/api/v1/namespaces/{name}")
