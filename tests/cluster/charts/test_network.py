"""The charts' network policies in force: pods that carry the labels of ours try to reach each other.

No process of ours runs in them: each listens on the ports that it would, and calls whom it is told to.
"""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from kuberay.transport import Connection
from tests.cluster.charts.helm import rendered
from tests.cluster.charts.variants import values
from tests.cluster.conftest import NODE, REGISTRY
from tests.cluster.product import product_image

RELEASE = {"app.kubernetes.io/name": "substra-backend", "app.kubernetes.io/instance": "it"}
API, HEAD, CLIENTS, OTHER = 8000, 8265, 6379, 9999
PLACES = ("control", "compute", "builds", "other")
PODS: dict[str, tuple[str, dict[str, str]]] = {
    "server": ("control", {**RELEASE, "app.kubernetes.io/component": "server"}),
    "loops": ("control", {**RELEASE, "app.kubernetes.io/component": "control"}),
    "head": ("compute", {"ray.io/node-type": "head"}),
    "worker": ("compute", {"ray.io/node-type": "worker", "substra.ai/pod-type": "compute"}),
    "neighbour": ("compute", {"ray.io/node-type": "worker", "substra.ai/pod-type": "compute"}),
    "stranger": ("compute", {}),
    "build": ("builds", {"substra.ai/pod-type": "image-build"}),
    "foreign": ("other", {}),
}
LISTENS = """
import selectors, socket, sys
chosen = selectors.DefaultSelector()
for port in sys.argv[1:]:
    chosen.register(socket.create_server(("", int(port))), selectors.EVENT_READ)
while True:
    for key, _ in chosen.select():
        key.fileobj.accept()[0].close()
"""
CALLS = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def call(place):
    host, _, port = place.rpartition(":")
    try:
        if port == "name":
            return bool(socket.getaddrinfo(host, 443))
        socket.create_connection((host, int(port)), 2).close()
    except OSError:
        return False
    return True
with ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(call, sys.argv[1:]))))
"""
CLUSTER, NAMES = f"{NODE}:6443", "kubernetes.default.svc.cluster.local:name"
ALL_PORTS = [f"{pod}:{port}" for pod in PODS for port in (API, HEAD, CLIENTS, OTHER)]
ALLOWED: dict[str, set[str]] = {
    "worker": {"server:8000", *(f"head:{port}" for port in (API, HEAD, CLIENTS, OTHER))},
    "head": {f"{pod}:{p}" for pod in ("worker", "neighbour") for p in (API, HEAD, CLIENTS, OTHER)},
    "stranger": set(),
    "build": set(),
    "loops": {"server:8000", "head:8265", "foreign:8000"},
    "server": {"server:8000", "foreign:8000"},
    "foreign": {"server:8000", *(f"foreign:{port}" for port in (API, HEAD, CLIENTS, OTHER))},
}
"""Of all ports of all pods, those that each reaches."""
OUTSIDE: dict[str, set[str]] = {
    "worker": {"store", NAMES},
    "head": {CLUSTER, NAMES},
    "stranger": set(),
    "build": {"store", REGISTRY, NAMES},
    "loops": {"store", CLUSTER, REGISTRY, NAMES},
    "server": {"store", NAMES},
    "foreign": {"store", CLUSTER, REGISTRY, NAMES},
}
"""Of the store, Kubernetes, the registry and the names."""


class Field:
    """Pods with the labels of ours, in four namespaces, and the policies over them."""

    def __init__(self, namespaces: dict[str, str], addresses: dict[str, str], store: str) -> None:
        self._namespaces, self._addresses, self._store = namespaces, addresses, store

    def reached(self, pod: str, places: list[str]) -> set[str]:
        """Those of `places` (`pod:port`, `address:port`, `store`, `name:name`) that `pod` reaches."""
        said = [self._address(place) for place in places]
        command = ["exec", pod, "--", "python3", "-c", CALLS, *said]
        text = kubectl("--namespace", self._namespaces[PODS[pod][0]], *command)
        return {place for place, came in zip(places, json.loads(text), strict=True) if came}

    def _address(self, place: str) -> str:
        host, _, port = place.rpartition(":")
        return self._store if place == "store" else f"{self._addresses.get(host, host)}:{port}"


def kubectl(*arguments: str) -> str:
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def listener(host: str) -> Iterator[int]:
    """A port of this machine that takes connections, as a store outside of the cluster."""
    with socket.create_server((host, 0)) as server:

        def take() -> None:
            try:
                while True:
                    server.accept()[0].close()
            except OSError:
                return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)


def pod(name: str, labels: dict[str, str]) -> dict[str, Any]:
    confined = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": "it",
        "image": product_image(),
        "command": ["python3", "-c", LISTENS, *map(str, (API, HEAD, CLIENTS, OTHER))],
        "ports": [{"name": "http", "containerPort": API}],
        "securityContext": confined,
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
    }
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


@pytest.fixture(scope="module")
def field(connection: Connection) -> Iterator[Field]:
    namespaces = {place: f"charts-{place}-{uuid4().hex[:8]}" for place in PLACES}
    for place, name in namespaces.items():
        level = "baseline" if place == "builds" else "restricted"
        labels = {"pod-security.kubernetes.io/enforce": level}
        body: dict[str, Any] = {"metadata": {"name": name, "labels": labels}}
        connection.request("POST", "/api/v1/namespaces", body=body)
    try:
        for name, (place, labels) in PODS.items():
            path = f"/api/v1/namespaces/{namespaces[place]}/pods"
            connection.request("POST", path, body=pod(name, labels))
        with listener(NODE) as port:
            for policy in policies(namespaces, port):
                place = policy["metadata"].setdefault("namespace", namespaces["control"])
                path = f"/apis/networking.k8s.io/v1/namespaces/{place}/networkpolicies"
                connection.request("POST", path, body=policy)
            addresses = {
                name: address(connection, namespaces[place], name)
                for name, (place, _) in PODS.items()
            }
            found = Field(namespaces, addresses, f"{NODE}:{port}")
            enforced(found)
            yield found
    finally:
        for name in namespaces.values():
            connection.request("DELETE", f"/api/v1/namespaces/{name}")


def policies(namespaces: dict[str, str], store: int) -> list[Any]:
    """The policies of an organization that builds and computes."""
    host, _, port = REGISTRY.partition(":")
    change = {
        "builder": {"enabled": True, "namespace": namespaces["builds"]},
        "compute": {"enabled": True, "namespace": namespaces["compute"]},
        "containerRegistry": {"host": host, "port": int(port), "scheme": "http"},
        "objectStore": {"url": f"http://{NODE}:{store}"},
    }
    found = rendered("substra-backend", values("substra-backend", change), namespaces["control"])
    made = [document for document in found if document["kind"] == "NetworkPolicy"]
    assert len(made) == 8
    return made


def address(connection: Connection, namespace: str, name: str) -> str:
    """The pod's, once it runs."""
    deadline = time.monotonic() + 180
    while True:
        status = connection.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")["status"]
        if status["phase"] == "Running":
            found: str = status["podIP"]
            return found
        assert time.monotonic() < deadline, status
        time.sleep(0.3)


def enforced(field: Field) -> None:
    """Policies take a moment: until the pod that nothing is allowed to reaches nothing."""
    deadline = time.monotonic() + 60
    while field.reached("stranger", ["server:8000", CLUSTER]) or not field.reached("head", [NAMES]):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("pod", sorted(ALLOWED))
def test_pod_reaches_what_it_may_and_nothing_else(field: Field, pod: str) -> None:
    places = [place for place in ALL_PORTS if not place.startswith(f"{pod}:")]
    own = {place for place in ALLOWED[pod] if place.startswith(f"{pod}:")}
    assert field.reached(pod, places) == ALLOWED[pod] - own


def test_outside_of_the_pods_too(field: Field) -> None:
    places = ["store", CLUSTER, REGISTRY, NAMES]
    with ThreadPoolExecutor(2) as pool:
        found = dict(
            zip(OUTSIDE, pool.map(lambda it: field.reached(it, places), OUTSIDE), strict=True)
        )
    assert found == OUTSIDE
