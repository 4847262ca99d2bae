"""A ledger and an organization with nothing brought along: the charts' small services, and their secrets."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from kuberay.errors import NotFound
from kuberay.transport import Connection
from tests.cluster.charts.helm import helm
from tests.cluster.charts.release import install, logged_in, names, reached
from tests.cluster.charts.services import services_image
from tests.cluster.charts.values import LEDGER, kaniko, of_ledger, of_organization, small
from tests.cluster.conftest import NODE, REGISTRY

ORGANIZATION = "org-1"
SERVER = f"{ORGANIZATION}-substra-backend-server"
NODE_PORT = 30517


@pytest.fixture(scope="module")
def services() -> str:
    return services_image()


@pytest.fixture(scope="module")
def alone(connection: Connection) -> Iterator[str]:
    """A namespace with nothing in it."""
    name = f"charts-small-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    connection.request(
        "POST", "/api/v1/namespaces", body={"metadata": {"name": name, "labels": labels}}
    )
    yield name
    connection.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="module")
def small_values(alone: str, services: str) -> dict[str, Any]:
    little = {
        "enabled": True,
        "image": services,
        "persistence": {"enabled": False},
        "resources": small(),
    }
    return {
        **of_organization(1, f"http://{SERVER}:8000"),
        "postgresql": little,
        "minio": little,
        "dockerRegistry": {**little, "nodePort": NODE_PORT},
        "containerRegistry": {
            "host": NODE,
            "port": NODE_PORT,
            "scheme": "http",
            "prepopulate": [{"image": "pause:1", "sourceRegistry": REGISTRY}],
        },
        "builder": {
            "enabled": True,
            "namespace": f"{alone}-builds",
            # where the base image comes from: here a private address, which is no part of the internet
            "egress": [
                {
                    "to": [{"ipBlock": {"cidr": f"{NODE}/32"}}],
                    "ports": [{"port": int(REGISTRY.partition(":")[2])}],
                }
            ],
        },
        "createNamespaces": True,
        "kaniko": kaniko(),
    }


@pytest.fixture(scope="module")
def network(alone: str, small_values: dict[str, Any], services: str) -> Iterator[str]:
    """Both releases."""
    ledger = {**of_ledger("MyOrg1MSP"), "postgresql": small_values["postgresql"]}
    install(LEDGER, "substra-orchestrator", alone, ledger)
    install(ORGANIZATION, "substra-backend", alone, small_values)
    yield alone
    for release in (ORGANIZATION, LEDGER):
        helm("uninstall", release, "--namespace", alone, "--wait", "--ignore-not-found")


def secrets(connection: Connection, namespace: str) -> dict[str, dict[str, str]]:
    """All of them but those in which helm keeps its own records."""
    found = connection.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
    return {
        item["metadata"]["name"]: item["data"]
        for item in found
        if item["type"] != "helm.sh/release.v1"
    }


def namespace_is_there(connection: Connection, name: str) -> bool:
    try:
        connection.request("GET", f"/api/v1/namespaces/{name}")
    except NotFound:
        return False
    return True


def test_helm_tests_pass(network: str) -> None:
    for release in (LEDGER, ORGANIZATION):
        assert "Phase:          Succeeded" in helm("test", release, "--namespace", network)


def test_user_stores_a_file_in_the_small_store(network: str) -> None:
    with reached(network, SERVER, 8000) as address:
        client = logged_in(address)
        permissions = {"public": True, "authorized_ids": []}
        body = {"name": "d", "permissions": permissions, "logs_permission": permissions}
        made = client.post(
            "/data_manager/",
            data={"json": json.dumps(body)},
            files={
                "data_opener": ("opener.py", b"import substratools\n"),
                "description": ("d.md", b"# data\n"),
            },
        )
        assert made.status_code == 201, made.text
        opener = client.get(f"/data_manager/{made.json()['key']}/opener/")
        assert opener.content == b"import substratools\n"


def test_registry_answers_at_the_node(network: str) -> None:
    assert httpx.get(f"http://{NODE}:{NODE_PORT}/v2/", trust_env=False).status_code == 200


def test_base_image_was_copied_there_by_a_job_that_ended(network: str) -> None:
    address = f"http://{NODE}:{NODE_PORT}/v2/pause/manifests/1"
    kinds = ("oci.image.manifest.v1", "docker.distribution.manifest.v2")
    accepted = {"Accept": ", ".join(f"application/vnd.{kind}+json" for kind in kinds)}
    assert httpx.get(address, headers=accepted, trust_env=False).status_code == 200


def test_namespace_of_builds_has_its_level(connection: Connection, network: str) -> None:
    found = connection.request("GET", f"/api/v1/namespaces/{network}-builds")
    assert found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"


def test_generated_secrets_are_long_and_kept(
    connection: Connection, network: str, small_values: dict[str, Any]
) -> None:
    before = secrets(connection, network)
    generated = [
        base64.b64decode(value)
        for data in before.values()
        for key, value in data.items()
        if key in ("DATABASE_PASSWORD", "OBJECTSTORE_SECRETKEY", "SECRET_KEY")
    ]
    assert len(generated) == len(set(generated)) == 4
    assert all(len(secret) >= 32 for secret in generated)
    install(ORGANIZATION, "substra-backend", network, {**small_values, "config": {"GPUS": 0}})
    assert secrets(connection, network) == before
    with reached(network, SERVER, 8000) as address:
        assert logged_in(address).get("/data_manager/").json()["count"] == 1


def test_secret_key_is_replaced_and_a_token_works_on(connection: Connection, network: str) -> None:
    """The three steps of docs/upgrade.md: accept the new key, use it, forget the old one."""
    name = f"{ORGANIZATION}-substra-backend-server-key"
    old = secrets(connection, network)[name]["SECRET_KEY"]
    new = base64.b64encode(b"n" * 64).decode()
    with reached(network, SERVER, 8000) as address:
        token = logged_in(address).headers["Authorization"]
    for step in ((old, new), (new, old), (new, None)):
        change = {"data": {"SECRET_KEY": step[0], "SECRET_KEY_PREVIOUS": step[1]}}
        kubectl(network, "patch", "secret", name, "--type", "merge", "--patch", json.dumps(change))
        kubectl(network, "rollout", "restart", f"deployment/{SERVER}")
        kubectl(network, "rollout", "status", f"deployment/{SERVER}", "--timeout", "180s")
        with reached(network, SERVER, 8000) as address:
            headers = {"Authorization": token, "Accept": "application/json;version=0.0"}
            answer = httpx.get(f"{address}/data_manager/", headers=headers, trust_env=False)
            assert answer.status_code == 200, step


def kubectl(namespace: str, *arguments: str) -> None:
    command = ["kubectl", "--namespace", namespace, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_uninstall_leaves_nothing(connection: Connection, network: str) -> None:
    for release in (ORGANIZATION, LEDGER):
        helm("uninstall", release, "--namespace", network, "--wait")
    deadline = time.monotonic() + 120
    while names(connection, network):
        assert time.monotonic() < deadline, names(connection, network)
        time.sleep(1)
    while namespace_is_there(connection, f"{network}-builds"):
        assert time.monotonic() < deadline
        time.sleep(1)
