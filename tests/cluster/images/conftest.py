"""A namespace for builds, as the charts label it, and a store that pods of the cluster reach."""

import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest

from backend.engine.images.build_job import BuildOptions, BuildSource, Recipe
from backend.engine.images.buildkit import BuildKit
from backend.engine.images.kaniko import Kaniko
from kuberay.transport import Connection
from tests.cluster.conftest import NODE, REGISTRY
from tests.cluster.product import product_image


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent."""


@dataclass(frozen=True)
class FileServer:
    """A folder, and the address of its files for pods."""

    folder: Path
    address: str

    def offer(self, **files: str) -> BuildSource:
        """An archive of these files as a build's source."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return self.offer_bytes(buffer.getvalue())

    def offer_bytes(self, content: bytes) -> BuildSource:
        checksum = hashlib.sha256(content).hexdigest()
        (self.folder / checksum).write_bytes(content)
        return BuildSource(f"{self.address}/{checksum}", checksum)

    def offer_package(self, name: str) -> None:
        """A wheel of a package with one module, for `pip install --find-links`."""
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(self.folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "ANSWER = 42\n")
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            )
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    folder = tmp_path_factory.mktemp("files")
    server = ThreadingHTTPServer((NODE, 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield FileServer(folder, f"http://{NODE}:{server.server_address[1]}")
    server.shutdown()
    server.server_close()


BUILDKIT_IMAGE = os.environ.get("SUBSTRA_RAY_TEST_BUILDKIT", "")
"""A rootless BuildKit that nodes can pull; unset, only Kaniko is tried."""
RECIPES: list[Recipe] = [Kaniko(), *([BuildKit()] if BUILDKIT_IMAGE else [])]


@pytest.fixture(scope="module", params=RECIPES, ids=lambda recipe: recipe.container)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    found: Recipe = request.param
    return found


@pytest.fixture(scope="module")
def builds(connection: Connection, recipe: Recipe) -> Iterator[str]:
    """A namespace under the Pod Security standard that the builder needs."""
    name = f"builds-test-{uuid4().hex[:8]}"
    level = "baseline" if recipe.container == "kaniko" else "privileged"
    labels = {"pod-security.kubernetes.io/enforce": level}
    body = {"metadata": {"name": name, "labels": labels}}
    connection.request("POST", "/api/v1/namespaces", body=body)
    yield name
    connection.request("DELETE", f"/api/v1/namespaces/{name}")


Options = Callable[..., BuildOptions]


@pytest.fixture(scope="module")
def options(builds: str, recipe: Recipe) -> Options:
    repository = f"builds-test/{uuid4().hex[:8]}"
    kaniko = recipe.container == "kaniko"

    def make(**changes: object) -> BuildOptions:
        given: dict[str, object] = {
            "namespace": builds,
            "registry": REGISTRY,
            "repository": repository,
            "scheme": "http",
            "context_image": product_image(),
            "image": f"{REGISTRY}/kaniko:1" if kaniko else BUILDKIT_IMAGE,
            "extra_arguments": ("--use-new-run",) if kaniko else (),
            "timeout_s": 600,
            "resources": {
                "requests": {"cpu": "100m", "memory": "128Mi"},
                "limits": {"memory": "2Gi"},
            },
        }
        return BuildOptions(**{**given, **changes})  # type: ignore[arg-type]

    return make
