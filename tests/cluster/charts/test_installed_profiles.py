"""Development networks of skaffold.yaml, installed from their files of values as docs/install.md has it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from kuberay.errors import AlreadyExists
from kuberay.transport import Connection
from tests.cluster.charts.helm import helm
from tests.cluster.charts.release import image, install, reached
from tests.cluster.charts.services import services_image
from tests.cluster.conftest import NODE
from tests.unit.helm.profiles import Release, merged, releases

SERVER = "backend-org-1-substra-backend-server"
Installed = Callable[[str], Any]


@pytest.fixture(scope="module")
def services() -> str:
    return services_image()


@pytest.fixture(scope="module")
def org_1(connection: Connection) -> Iterator[str]:
    """The namespace in which the releases are, as the announced address says."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body: dict[str, Any] = {"metadata": {"name": "org-1", "labels": labels}}
    try:
        connection.request("POST", "/api/v1/namespaces", body=body)
    except AlreadyExists:
        raise AssertionError("a network is there already: namespace org-1") from None
    yield "org-1"
    connection.request("DELETE", "/api/v1/namespaces/org-1")


@pytest.fixture
def installed(org_1: str, services: str) -> Installed:
    @contextmanager
    def install_profile(profile: str) -> Iterator[list[Release]]:
        found = releases([profile])
        assert {release.namespace for release in found} == {org_1}
        here: dict[str, Any] = {"image": image(), "postgresql": {"image": services}}
        backend = {
            "containerRegistry": {"host": NODE},
            "dockerRegistry": {"image": services},
            "minio": {"image": services},
        }
        try:
            for release in found:
                of_chart = backend if release.chart == "substra-backend" else {}
                values = merged(release.values, merged(here, of_chart))
                install(release.name, release.chart, org_1, values)
            yield found
        finally:
            for release in reversed(found):
                helm(
                    "uninstall", release.name, "--namespace", org_1, "--wait", "--ignore-not-found"
                )

    return install_profile


def answer(address: str, path: str, user: str) -> Any:
    """What a user of the tutorials gets."""
    log_in = {"username": user, "password": "p@sswr0d44"}
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        client.headers["Accept"] = "application/json;version=0.0"
        token = client.post("/api-token-auth/", data=log_in).json()["token"]
        return client.get(path, headers={"Authorization": f"Token {token}"}).json()


def test_single_org_has_both_users_of_the_tutorials(installed: Installed, org_1: str) -> None:
    with installed("single-org") as found:
        for release in found:
            assert "Phase:          Succeeded" in helm("test", release.name, "--namespace", org_1)
        with reached(org_1, SERVER, 8000) as address:
            for user, channel in (("org-1", "mychannel"), ("org-1-yourchannel", "yourchannel")):
                assert answer(address, "/info/", user)["channel"] == channel
                members = answer(address, "/organization/", user)
                assert [member["id"] for member in members] == ["MyOrg1MSP"]


def test_isolated_answers_without_a_ledger(installed: Installed, org_1: str) -> None:
    with installed("isolated") as found:
        assert [release.chart for release in found] == ["substra-backend"]
        assert "Phase:          Succeeded" in helm("test", found[0].name, "--namespace", org_1)
        with reached(org_1, SERVER, 8000) as address:
            assert answer(address, "/compute_plan/", "org-1")["results"] == []
