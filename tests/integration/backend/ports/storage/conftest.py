"""An S3 store that every machine can run: moto's server, in the memory of a process of its own."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.ports.storage import Storage, open_storage
from backend.settings import Settings

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # until whoever started it is gone
"""


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The address of an S3 store that takes any credentials."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    server.stdin.close()
    server.wait(30)
    server.stdout.close()


@pytest.fixture
def settings(object_store: str, tmp_path: Path) -> Settings:
    """A bucket of its own."""
    return Settings(
        OBJECTSTORE_URL=object_store,
        OBJECTSTORE_ACCESSKEY="key",
        OBJECTSTORE_SECRETKEY="secret",
        OBJECTSTORE_BUCKET=f"substra-{uuid.uuid4().hex[:12]}",
        OBJECTSTORE_PREFIX="org-1",
        OBJECTSTORE_REGION="us-east-1",
        OBJECTSTORE_PART_BYTES=5 << 20,
        MEDIA_ROOT=tmp_path / "media",
    )


@pytest.fixture
def s3(settings: Settings) -> Storage:
    storage = open_storage(settings)
    storage.prepare()
    return storage
