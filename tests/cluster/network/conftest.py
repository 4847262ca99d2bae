"""A whole network in the cluster, and what its plans need."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from kuberay.transport import Connection
from tests.cluster.charts.conftest import Database, make_secret, new_databases, postgres, store
from tests.cluster.network.installed import Network, namespaces
from tests.cluster.slim import slim_image
from tests.cluster.storage.minio_server import KEY, SECRET, MinioServer
from tests.e2e import playground as plans
from tests.e2e.playground import Data, Playground

ORDER = ("plan", "demo", "hostile", "losses", "replicas", "life", "uninstall")
"""One network for all modules: figures of a new image first, the end of a release last."""
__all__ = ["make_secret", "new_databases", "postgres", "store"]

ORGANIZATIONS = int(os.environ.get("SUBSTRA_RAY_TEST_ORGANIZATIONS", "2"))
DOCKERFILE = """FROM {slim}
RUN python3 -m venv /opt/functions
ENV PATH=/opt/functions/bin:/usr/local/bin:/usr/bin:/bin
RUN python3 -m pip install substratools
WORKDIR /home/user
{{extra}}COPY function* .
ENTRYPOINT {{words}}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [index for index, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    ordered = sorted(
        (items[index] for index in here),
        key=lambda item: ORDER.index(item.path.stem.removeprefix("test_")),
    )
    for index, item in zip(here, ordered, strict=True):
        items[index] = item


@pytest.fixture(scope="session")
def slim() -> str:
    """The image that functions begin with."""
    return slim_image()


@pytest.fixture(scope="session")
def network(
    connection: Connection,
    store: MinioServer,
    new_databases: Callable[[], Database],
    make_secret: Callable[..., None],
) -> Iterator[Network]:
    with namespaces(connection, ORGANIZATIONS) as (place, organizations):
        make_secret(place, "store", OBJECTSTORE_ACCESSKEY=KEY, OBJECTSTORE_SECRETKEY=SECRET)
        made = Network(connection, place, organizations, store, new_databases, make_secret)
        made.install()
        yield made


@pytest.fixture(scope="session")
def playground(
    network: Network, slim: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Playground]:
    """The SDK's clients of all organizations; functions are built in the cluster."""
    assets = tmp_path_factory.mktemp("assets")
    shutil.copyfile(Path(__file__).with_name("assets") / "function.py", assets / "function.py")
    shutil.copyfile(plans.ASSETS / "function.py", assets / "functions.py")
    shutil.copyfile(plans.ASSETS / "opener.py", assets / "opener.py")
    dockerfile = DOCKERFILE.format(slim=slim)
    clients = [network.client(organization) for organization in network.organizations]
    with (
        mock.patch.object(plans, "ASSETS", assets),
        mock.patch.object(plans, "DOCKERFILE", dockerfile),
    ):
        yield Playground(clients, tmp_path_factory.mktemp("uploads"))


@pytest.fixture(scope="session")
def data(playground: Playground) -> list[Data]:
    """One dataset an organization."""
    return [playground.data([1, 2], owner=owner) for owner in range(len(playground.clients))]
