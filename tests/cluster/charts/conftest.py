"""What an operator brings: a PostgreSQL and an S3 store outside of the cluster, a namespace, their Secrets."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from kuberay.transport import Connection
from tests.cluster.conftest import NODE
from tests.cluster.storage.minio_server import KEY, SECRET, MinioServer, minio_server
from tests.integration.backend.ports.cutting import relay
from tests.integration.conftest import new_database, postgres

__all__ = ["postgres"]


@dataclass(frozen=True)
class Database:
    """As pods reach it."""

    host: str
    port: int
    name: str
    username: str
    password: str

    @property
    def user(self) -> dict[str, str]:
        """As its Secret has it."""
        return {"DATABASE_USERNAME": self.username, "DATABASE_PASSWORD": self.password}


@pytest.fixture(scope="session")
def new_databases(postgres: str) -> Iterator[Callable[[], Database]]:
    """Databases of the tests' server, behind an address that pods reach."""
    parts = urlsplit(postgres)
    with ExitStack() as opened:
        between = opened.enter_context(relay(parts.netloc.rpartition("@")[2], NODE))

        def make() -> Database:
            url = opened.enter_context(new_database(postgres))
            name = url.rpartition("/")[2]
            return Database(NODE, between.port, name, parts.username or "", parts.password or "")

        yield make


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with minio_server(tmp_path_factory.mktemp("minio"), host=NODE) as found:
        yield found


@pytest.fixture(scope="session")
def make_secret(connection: Connection) -> Callable[..., None]:
    def make(namespace: str, name: str, **values: str) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        body: dict[str, Any] = {"metadata": {"name": name}, "data": data}
        connection.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body=body)

    return make


@pytest.fixture(scope="module")
def builds(connection: Connection) -> Iterator[str]:
    """The namespace of an organization's builds."""
    name = f"charts-builds-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    body = {"metadata": {"name": name, "labels": labels}}
    connection.request("POST", "/api/v1/namespaces", body=body)
    yield name
    connection.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="module")
def place(
    connection: Connection, make_secret: Callable[..., None], store: MinioServer
) -> Iterator[str]:
    """A namespace under the *restricted* standard, with the store's keys."""
    name = f"charts-test-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"metadata": {"name": name, "labels": labels}}
    connection.request("POST", "/api/v1/namespaces", body=body)
    make_secret(name, "store", OBJECTSTORE_ACCESSKEY=KEY, OBJECTSTORE_SECRETKEY=SECRET)
    yield name
    connection.request("DELETE", f"/api/v1/namespaces/{name}")
