"""Both charts installed from nothing, used, upgraded, and gone again without a trace."""

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from backend.ports.registry import Registry
from kuberay.transport import Connection
from tests.cluster.charts.conftest import Database
from tests.cluster.charts.helm import helm
from tests.cluster.charts.release import USER, install, logged_in, names, reached
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
from tests.cluster.conftest import REGISTRY
from tests.cluster.storage.minio_server import MinioServer

ORGANIZATION = "org-1"


@pytest.fixture(scope="module")
def ledger_values(
    place: str, new_databases: Callable[[], Database], make_secret: Callable[..., None]
) -> dict[str, Any]:
    database = new_databases()
    make_secret(place, "ledger-database", **database.user)
    return {
        **of_ledger("MyOrg1MSP"),
        **ledger_database(database, "ledger-database"),
        "metrics": {"enabled": True},
    }


@pytest.fixture(scope="module")
def ledger(place: str, ledger_values: dict[str, Any]) -> Iterator[str]:
    """The release's name, installed."""
    install(LEDGER, "substra-orchestrator", place, ledger_values)
    yield LEDGER
    helm("uninstall", LEDGER, "--namespace", place, "--wait", "--ignore-not-found")


@pytest.fixture(scope="module")
def organization_values(
    place: str,
    new_databases: Callable[[], Database],
    make_secret: Callable[..., None],
    store: MinioServer,
    builds: str,
) -> dict[str, Any]:
    database = new_databases()
    make_secret(place, "database", **database.user)
    values = of_organization(1, f"http://{ORGANIZATION}-substra-backend-server:{PORT}")
    secrets = [{"name": "MyOrg1MSP", "secret": "selfSecret1"}]
    return {
        **values,
        **outside(database, "database", store, "org-1"),
        "builder": {"enabled": True, "namespace": builds},
        "kaniko": kaniko(),
        "containerRegistry": registry(f"charts-test/{builds}"),
        "server": {**values["server"], "replicaCount": 2},
        "addAccountOperator": {
            **values["addAccountOperator"],
            "incomingOrganizations": secrets,
            "outgoingOrganizations": secrets,
        },
    }


@pytest.fixture(scope="module")
def organization(place: str, ledger: str, organization_values: dict[str, Any]) -> Iterator[str]:
    install(ORGANIZATION, "substra-backend", place, organization_values)
    yield ORGANIZATION
    helm("uninstall", ORGANIZATION, "--namespace", place, "--wait", "--ignore-not-found")


def test_ledger_serves_and_passes_its_test(place: str, ledger: str) -> None:
    assert "Phase:          Succeeded" in helm("test", ledger, "--namespace", place)


def test_ledger_metrics(place: str, ledger: str) -> None:
    with reached(place, f"{ledger}-server", 8484) as address:
        text = httpx.get(f"{address}/metrics").text
    assert "orc_writer_leads" in text


def test_channels_are_taken_over_while_the_ledger_runs(
    connection: Connection, place: str, ledger: str, ledger_values: dict[str, Any]
) -> None:
    path = f"/apis/apps/v1/namespaces/{place}/deployments/{ledger}-server"
    before = connection.request("GET", path)["metadata"]["generation"]
    added = {"name": "yourchannel", "organizations": ["MyOrg1MSP"]}
    install(
        ledger,
        "substra-orchestrator",
        place,
        {**ledger_values, "channels": [*ledger_values["channels"], added]},
    )
    assert connection.request("GET", path)["metadata"]["generation"] == before
    deadline = time.monotonic() + 150  # the kubelet looks at ConfigMaps once a minute
    with reached(place, f"{ledger}-server", 8484) as address:
        while 'orc_writer_leads{channel="yourchannel"}' not in httpx.get(f"{address}/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(1)


def test_organization_answers_and_passes_its_test(place: str, organization: str) -> None:
    assert "Phase:          Succeeded" in helm("test", organization, "--namespace", place)


def test_user_logs_in_and_stores_a_file(place: str, organization: str, store: MinioServer) -> None:
    with reached(place, f"{organization}-substra-backend-server", PORT) as address:
        client = logged_in(address)
        members = client.get("/organization/").json()
        assert [member["id"] for member in members] == ["MyOrg1MSP"]
        permissions = {"public": True, "authorized_ids": []}
        body = {"name": "data", "permissions": permissions, "logs_permission": permissions}
        made = client.post(
            "/data_manager/",
            data={"json": json.dumps(body)},
            files={
                "data_opener": ("opener.py", b"import substratools\n"),
                "description": ("d.md", b"# data\n"),
            },
        )
        assert made.status_code == 201, made.text
        key = made.json()["key"]
        opener = client.get(f"/data_manager/{key}/opener/")
        assert (opener.status_code, opener.content) == (200, b"import substratools\n")
    assert any(path.name == "org-1" for path in store.folder.iterdir())


def test_function_is_built_and_its_image_is_in_the_registry(
    place: str, organization: str, builds: str
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        lines = (
            f"FROM {REGISTRY}/python:3.11",
            "COPY f.py /f.py",
            'ENTRYPOINT ["python3", "/f.py"]',
        )
        archive.writestr("Dockerfile", "\n".join(lines))
        archive.writestr("f.py", "print(1)")
    permissions = {"public": True, "authorized_ids": []}
    body = {"name": "f", "permissions": permissions, "inputs": {}, "outputs": {}}
    with reached(place, f"{organization}-substra-backend-server", PORT) as address:
        client = logged_in(address)
        made = client.post(
            "/function/",
            data={"json": json.dumps(body)},
            files={"file": ("f.zip", buffer.getvalue()), "description": ("d.md", b"# f\n")},
        )
        assert made.status_code == 201, made.text
        path, deadline = f"/function/{made.json()['key']}/", time.monotonic() + 180
        while (found := client.get(path).json())["status"] != "FUNCTION_STATUS_READY":
            assert found["status"] != "FUNCTION_STATUS_FAILED", found
            assert time.monotonic() < deadline, found["status"]
            time.sleep(0.5)
    tag = f"function-{hashlib.sha256(buffer.getvalue()).hexdigest()[:16]}"
    images = Registry(REGISTRY, scheme="http")
    image = images.image(f"charts-test/{builds}", tag)
    images.close()
    assert image is not None


def test_upgrade_keeps_key_users_and_tokens(
    connection: Connection, place: str, organization: str, organization_values: dict[str, Any]
) -> None:
    path = f"/api/v1/namespaces/{place}/secrets/{organization}-substra-backend-server-key"
    before = connection.request("GET", path)["data"]
    with reached(place, f"{organization}-substra-backend-server", PORT) as address:
        token = httpx.post(f"{address}/api-token-auth/", data=USER).json()["token"]
    changed = {**organization_values, "config": {"PAGINATION_MAX_PAGE_SIZE": 77}}
    install(organization, "substra-backend", place, changed)
    assert connection.request("GET", path)["data"] == before
    with reached(place, f"{organization}-substra-backend-server", PORT) as address:
        headers = {"Authorization": f"Token {token}", "Accept": "application/json;version=0.0"}
        assert httpx.get(f"{address}/organization/", headers=headers).status_code == 200


def test_uninstall_leaves_nothing(
    connection: Connection, place: str, organization: str, ledger: str
) -> None:
    for release in (organization, ledger):
        helm("uninstall", release, "--namespace", place, "--wait")
    brought = {"secrets/store", "secrets/database", "secrets/ledger-database"}
    deadline = time.monotonic() + 120
    while names(connection, place) != brought:
        assert time.monotonic() < deadline, names(connection, place) - brought
        time.sleep(1)
    assert names(connection, place) == brought
