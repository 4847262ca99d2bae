"""A whole network in the cluster, and what its plans need."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import pytest

from kuberay.transport import Connection
from tests.cluster.charts.conftest import Database, make_secret, new_databases, postgres, store
from tests.cluster.conftest import NODE, REGISTRY
from tests.cluster.images.conftest import _Quiet
from tests.cluster.kuberay.images import build
from tests.cluster.network.installed import Network, namespaces
from tests.cluster.storage.minio_server import KEY, SECRET, MinioServer
from tests.e2e import playground as plans
from tests.e2e.playground import Data, Playground

ORDER = ("plan", "demo", "hostile", "losses", "replicas", "life", "uninstall")
"""One network for all modules: figures of a new image first, the end of a release last."""
__all__ = ["make_secret", "new_databases", "postgres", "store"]

ORGANIZATIONS = int(os.environ.get("SUBSTRA_RAY_TEST_ORGANIZATIONS", "2"))
DOCKERFILE = """FROM {registry}/python:3.11
RUN python3 -m venv /opt/functions
ENV PATH=/opt/functions/bin:/usr/local/bin:/usr/bin:/bin
RUN python3 -m pip install --no-index --find-links {wheels} --trusted-host {node} substratools
WORKDIR /home/user
{{extra}}COPY function.py .
ENTRYPOINT {{words}}
"""
PACKAGES = ("substratools", "substra", "substrafl", "numpy", "scikit-learn")
SLIM = "python:3.11-slim"
# What SubstraFL's Dockerfiles begin with, for a cluster without the internet: packages come from this
# machine, and nothing is upgraded.
SLIM_CONTAINERFILE = """FROM {registry}/python:3.11
RUN ln -s python3 /usr/bin/python && ln -s /bin/true /usr/local/bin/apt-get \\
 && ln -s /bin/true /usr/local/bin/pip
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=WHEELS PIP_TRUSTED_HOST=NODE PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
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
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What builds install, at an address that they reach."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
    kind = ["--python-version", "3.11", "--only-binary", ":all:"]
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in PACKAGES]
    subprocess.run([*pip, *kind, "pip", "setuptools", *pinned], check=True)
    server = ThreadingHTTPServer((NODE, 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{NODE}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def slim(wheels: str) -> str:
    """The image that `FROM python:3.11-slim` gets by the registry's mirror."""
    text = SLIM_CONTAINERFILE.replace("WHEELS", wheels).replace("NODE", NODE)
    build("slim", text, {}, tag=f"library/{SLIM}")
    return SLIM


@pytest.fixture(scope="session")
def network(
    connection: Connection,
    store: MinioServer,
    new_databases: Callable[[], Database],
    make_secret: Callable[..., None],
    wheels: str,
) -> Iterator[Network]:
    with namespaces(connection, ORGANIZATIONS) as (place, organizations):
        make_secret(place, "store", OBJECTSTORE_ACCESSKEY=KEY, OBJECTSTORE_SECRETKEY=SECRET)
        made = Network(connection, place, organizations, store, new_databases, make_secret, wheels)
        made.install()
        yield made


@pytest.fixture(scope="session")
def playground(
    network: Network, wheels: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Playground]:
    """The SDK's clients of all organizations; functions are built in the cluster."""
    assets = tmp_path_factory.mktemp("assets")
    shutil.copyfile(Path(__file__).with_name("assets") / "function.py", assets / "function.py")
    shutil.copyfile(plans.ASSETS / "opener.py", assets / "opener.py")
    dockerfile = DOCKERFILE.format(registry=REGISTRY, wheels=wheels, node=NODE)
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
