"""A release of a chart: installed, reached, looked at."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from kuberay.transport import Connection
from tests.cluster.charts.helm import CHARTS, helm
from tests.cluster.product import product_image

WAIT = "5m"
USER = {"username": "org-1", "password": "p@sswr0d44"}
KINDS = [
    *("apis/apps/v1/deployments", "apis/apps/v1/replicasets", "apis/batch/v1/jobs"),
    *("api/v1/pods", "api/v1/services", "api/v1/secrets", "api/v1/configmaps"),
    *("api/v1/serviceaccounts", "apis/policy/v1/poddisruptionbudgets"),
    "apis/networking.k8s.io/v1/networkpolicies",
]


def image() -> dict[str, str]:
    repository, _, tag = product_image().rpartition(":")
    return {"repository": repository, "tag": tag}


def install(release: str, chart: str, namespace: str, values: dict[str, Any]) -> None:
    began = time.monotonic()
    helm(
        *("upgrade", "--install", release, str(CHARTS / chart), "--namespace", namespace),
        *("--create-namespace", "--wait", "--wait-for-jobs", "--timeout", WAIT),
        values=values,
    )
    print(f"\nhelm upgrade --install {chart}: {time.monotonic() - began:.1f} s", end="")


@contextmanager
def reached(namespace: str, service: str, port: int) -> Iterator[str]:
    """The address of a Service on this machine, as `kubectl port-forward` gives it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        local = listener.getsockname()[1]
    forward = subprocess.Popen(
        [
            "kubectl",
            "--namespace",
            namespace,
            "port-forward",
            f"service/{service}",
            f"{local}:{port}",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert forward.stdout is not None
    assert "Forwarding" in forward.stdout.readline()
    try:
        yield f"http://127.0.0.1:{local}"
    finally:
        forward.kill()
        forward.wait()
        forward.stdout.close()


def logged_in(address: str) -> httpx.Client:
    client = httpx.Client(base_url=address, timeout=30)
    client.headers["Accept"] = "application/json;version=0.0"
    token = client.post("/api-token-auth/", data=USER).json()["token"]
    client.headers["Authorization"] = f"Token {token}"
    return client


def names(connection: Connection, namespace: str) -> set[str]:
    """All objects that somebody made there, as kind/name."""
    found = set()
    for kind in KINDS:
        group, _, plural = kind.rpartition("/")
        listed = connection.request("GET", f"/{group}/namespaces/{namespace}/{plural}")
        found |= {f"{plural}/{item['metadata']['name']}" for item in listed["items"]}
    return found - {"configmaps/kube-root-ca.crt", "serviceaccounts/default"}
