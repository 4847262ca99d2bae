"""The dashboard of a real compute cluster through the API: an administrator reads it, with its token added."""

import base64
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from kuberay.transport import Connection
from tests.cluster.charts.helm import helm
from tests.cluster.charts.release import image, install, logged_in, reached
from tests.cluster.charts.services import services_image
from tests.cluster.charts.test_rayservice import until
from tests.cluster.conftest import NODE
from tests.unit.helm.profiles import merged, releases

LITTLE = {"requests": {"cpu": "50m", "memory": "384Mi"}, "limits": {"memory": "3Gi"}}
RELEASE = "shown"
HERE = "/ray-dashboard/compute"


@pytest.fixture(scope="module")
def shown(connection: Connection) -> Iterator[str]:
    """A namespace with an organization without a ledger, whose compute cluster has a head and no more."""
    name = f"dashboard-test-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body: dict[str, Any] = {"metadata": {"name": name, "labels": labels}}
    connection.request("POST", "/api/v1/namespaces", body=body)
    services = services_image()
    (isolated,) = releases(["isolated"])
    change = {
        "image": image(),
        "createNamespaces": True,
        "postgresql": {"image": services},
        "minio": {"image": services},
        "containerRegistry": {"host": NODE},
        "compute": {
            "enabled": True,
            "namespace": f"{name}-compute",
            "head": {"resources": LITTLE},
            "autoscaler": {"resources": LITTLE},
        },
        "server": {"replicaCount": 1, "dashboard": {"enabled": True}},
    }
    try:
        install(RELEASE, isolated.chart, name, merged(isolated.values, change))
        yield name
    finally:
        helm("uninstall", RELEASE, "--namespace", name, "--wait", "--ignore-not-found")
        connection.request("DELETE", f"/api/v1/namespaces/{name}")


def answers(client: httpx.Client, path: str) -> bool:
    return client.get(f"{HERE}/{path}").status_code == 200


def test_administrator_sees_the_cluster_and_nobody_the_token(
    connection: Connection, shown: str
) -> None:
    secrets = f"/api/v1/namespaces/{shown}-compute/secrets/{RELEASE}-compute"
    encoded = connection.request("GET", secrets)["data"]["auth_token"]
    token = base64.b64decode(encoded).decode()
    with reached(shown, f"{RELEASE}-substra-backend-server", 8000) as address:
        client = logged_in(address)
        took = until("the head answers through the API", lambda: answers(client, "api/version"))
        print(f"\ndashboard through the API {took:.1f} s after the release", end="")
        nodes = client.get(f"{HERE}/nodes?view=summary")
        assert nodes.status_code == 200
        assert len(nodes.json()["data"]["summary"]) == 1
        assert client.get(f"{HERE}/api/jobs/").json() == []
        assert "Ray Dashboard" in client.get(f"{HERE}/").text
        assert client.post(f"{HERE}/api/jobs/", json={"entrypoint": "true"}).status_code >= 400
        assert client.get(f"{HERE}/api/actors/kill?actor_id=00").status_code == 404
        assert client.get(f"{HERE}/api/jobs/").json() == []
        assert token not in nodes.text
        assert httpx.get(f"{address}{HERE}/nodes", timeout=30).status_code == 401
    with reached(f"{shown}-compute", f"{RELEASE}-compute-head-svc", 8265) as head:
        for headers, expected in (({}, 401), ({"Authorization": f"Bearer {token}"}, 200)):
            answer = httpx.get(f"{head}/api/jobs/", headers=headers, trust_env=False, timeout=30)
            assert answer.status_code == expected
