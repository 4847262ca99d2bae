"""The API on a RayService beside the plain Deployment: installed, asked through Serve, a replica's pod lost."""

import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from kuberay.transport import Connection
from tests.cluster.charts.helm import helm
from tests.cluster.charts.release import install, logged_in, reached
from tests.cluster.charts.services import services_image
from tests.cluster.charts.values import LEDGER, of_ledger, of_organization, small

ORGANIZATION = "org-1"
NAME = f"{ORGANIZATION}-substra-backend-api"
WAIT_S = 240.0
OF_RAY = {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"memory": "3Gi"}}


@pytest.fixture(scope="module")
def served(connection: Connection) -> Iterator[str]:
    """The namespace in which an organization answers on Serve."""
    name = f"charts-serve-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body: dict[str, Any] = {"metadata": {"name": name, "labels": labels}}
    connection.request("POST", "/api/v1/namespaces", body=body)
    little = {
        "enabled": True,
        "image": services_image(),
        "persistence": {"enabled": False},
        "resources": small(),
    }
    ledger = {**of_ledger("MyOrg1MSP"), "postgresql": little}
    organization = {
        **of_organization(1, f"http://{ORGANIZATION}-substra-backend-server:8000"),
        "postgresql": little,
        "minio": little,
        "serve": {
            "mode": "rayservice",
            "head": {"resources": OF_RAY},
            "workers": {"minReplicas": 1, "maxReplicas": 1, "resources": OF_RAY},
        },
    }
    try:
        install(LEDGER, "substra-orchestrator", name, ledger)
        install(ORGANIZATION, "substra-backend", name, organization)
        yield name
    finally:
        for release in (ORGANIZATION, LEDGER):
            helm("uninstall", release, "--namespace", name, "--wait", "--ignore-not-found")
        connection.request("DELETE", f"/api/v1/namespaces/{name}")


def until(what: str, condition: Any) -> float:
    """Seconds until it holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < WAIT_S, what
        threading.Event().wait(0.5)
    return time.monotonic() - began


def ready(connection: Connection, namespace: str) -> bool:
    path = f"/apis/ray.io/v1/namespaces/{namespace}/rayservices/{NAME}"
    status = connection.request("GET", path).get("status") or {}
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions", [])
    )


def test_service_becomes_ready_and_answers(connection: Connection, served: str) -> None:
    took = until("the RayService is Ready", lambda: ready(connection, served))
    print(f"\nRayService ready {took:.1f} s after the release", end="")
    with reached(served, f"{NAME}-serve-svc", 8000) as address:
        client = logged_in(address)
        assert client.get("/info/").json()["organization_id"] == "MyOrg1MSP"
        assert [it["id"] for it in client.get("/organization/").json()] == ["MyOrg1MSP"]
    with reached(served, f"{ORGANIZATION}-substra-backend-server", 8000) as address:
        assert logged_in(address).get("/info/").status_code == 200


def test_dashboard_asks_for_the_token(connection: Connection, served: str) -> None:
    path = f"/apis/ray.io/v1/namespaces/{served}/rayservices/{NAME}"
    cluster = connection.request("GET", path)["status"]["activeServiceStatus"]["rayClusterName"]
    with reached(served, f"{cluster}-head-svc", 8265) as address:
        assert httpx.get(f"{address}/api/jobs/", trust_env=False).status_code in (401, 403)
