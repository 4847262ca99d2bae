"""A real API server, from KUBECONFIG; a namespace for each test module, gone at its end.

These tests are not part of `make test`: `make cluster-test` runs them where there is a cluster.
"""

import os
from collections.abc import Iterator
from uuid import uuid4

import pytest

from kuberay.resources import Kind, Resource
from kuberay.shapes import KubeObject
from kuberay.transport import Connection

REGISTRY = os.environ.get("SUBSTRA_RAY_TEST_REGISTRY", "10.88.0.1:5000")
NODE = REGISTRY.partition(":")[0]
"""The address under which pods reach this machine."""


@pytest.fixture(scope="session")
def connection() -> Iterator[Connection]:
    assert os.environ.get("KUBECONFIG"), "KUBECONFIG names no cluster"
    made = Connection.from_kubeconfig()
    yield made
    made.close()


@pytest.fixture(scope="module")
def namespace(connection: Connection) -> Iterator[str]:
    """A namespace under the *restricted* Pod Security standard."""
    name = f"kuberay-test-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"metadata": {"name": name, "labels": labels}}
    connection.request("POST", "/api/v1/namespaces", body=body)
    yield name
    connection.request("DELETE", f"/api/v1/namespaces/{name}")


def resource(connection: Connection, kind: Kind, namespace: str) -> Resource:  # type: ignore[type-arg]
    return Resource(connection, kind, namespace)


CONFIG_MAPS: Kind[KubeObject] = Kind("/api/v1", "configmaps", "ConfigMap")
