"""The storage suite on a real MinIO server, and what only a server that checks signatures can show."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from backend.ports.storage import Storage, StorageUnavailable, open_storage
from backend.settings import Settings
from tests.cluster.storage.minio_server import (
    KEY,
    SECRET,
    MinioServer,
    free_port,
    make_certificate,
    minio_server,
)
from tests.integration.backend.ports.storage.contract import LARGE, content, read, sha256, store
from tests.integration.backend.ports.storage.remote_contract import RemoteContract


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with minio_server(tmp_path_factory.mktemp("minio")) as found:
        yield found


@pytest.fixture
def settings(server: MinioServer, tmp_path: Path) -> Settings:
    """A bucket of its own; the region is asked for."""
    return Settings(
        OBJECTSTORE_URL=server.address,
        OBJECTSTORE_ACCESSKEY=KEY,
        OBJECTSTORE_SECRETKEY=SECRET,
        OBJECTSTORE_BUCKET=f"substra-{uuid.uuid4().hex[:12]}",
        OBJECTSTORE_PREFIX="org-1",
        OBJECTSTORE_PART_BYTES=5 << 20,
        MEDIA_ROOT=tmp_path / "media",
    )


def opened(settings: Settings, **changes: object) -> Storage:
    return open_storage(settings.model_copy(update=changes))


class TestMinio(RemoteContract):
    @pytest.fixture
    def storage(self, settings: Settings) -> Storage:
        storage = open_storage(settings)
        storage.prepare()
        return storage

    def test_wrong_keys_are_refused(self, storage: Storage, settings: Settings) -> None:
        store(storage, "k", b"x")
        for changes in ({"OBJECTSTORE_ACCESSKEY": "nobody"}, {"OBJECTSTORE_SECRETKEY": "wrong"}):
            with pytest.raises(StorageUnavailable, match="refused"):
                opened(settings, **changes).put("k", [b"y"])
        assert read(storage, "k") == b"x"

    def test_url_is_for_one_file_one_method_and_a_while(self, storage: Storage) -> None:
        store(storage, "a", b"ours")
        store(storage, "b", b"not yours")
        url = storage.download_url("a", 2)
        assert url is not None
        deadline = time.monotonic() + 30
        assert httpx.get(url).content == b"ours"
        assert httpx.get(url.replace("/a?", "/b?")).status_code == 403
        assert httpx.put(url, content=b"mine").status_code == 403
        while httpx.get(url).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert httpx.get(url).status_code == 403
        assert read(storage, "a") == b"ours"

    def test_keys_from_files_are_rotated_without_a_restart(
        self, storage: Storage, settings: Settings, tmp_path: Path
    ) -> None:
        (tmp_path / "OBJECTSTORE_ACCESSKEY").write_text(KEY)
        (tmp_path / "OBJECTSTORE_SECRETKEY").write_text("wrong")
        changes = {"OBJECTSTORE_ACCESSKEY": "", "OBJECTSTORE_CREDENTIALS_FOLDER": tmp_path}
        far = opened(settings, **changes)
        with pytest.raises(StorageUnavailable, match="refused"):
            far.put("k", [b"x"])
        (tmp_path / "OBJECTSTORE_SECRETKEY").write_text(SECRET)
        deadline = time.monotonic() + 30
        while True:
            try:
                far.put("k", [b"x"])
                break
            except StorageUnavailable:
                assert time.monotonic() < deadline
                time.sleep(0.5)
        assert read(storage, "k") == b"x"


def test_private_authority(settings: Settings, tmp_path: Path) -> None:
    authority = make_certificate(tmp_path / "certificates")
    with minio_server(tmp_path / "minio", certificates=tmp_path / "certificates") as server:
        storage = opened(settings, OBJECTSTORE_URL=server.address, OBJECTSTORE_CA_PATH=authority)
        storage.prepare()
        storage.put("k", [content(LARGE)], sha256(content(LARGE)))
        assert sha256(storage.local_path("k").read_bytes()) == sha256(content(LARGE))
        stranger = opened(settings, OBJECTSTORE_URL=server.address)
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            stranger.exists("k")


def test_killed_store_is_used_again_when_it_is_back(settings: Settings, tmp_path: Path) -> None:
    port = free_port()
    with minio_server(tmp_path / "minio", port=port) as server:
        storage = opened(settings, OBJECTSTORE_URL=server.address)
        storage.prepare()
        store(storage, "k", b"before")
    with storage.writer() as writer:
        writer.write(b"meanwhile")
        with pytest.raises(StorageUnavailable):
            writer.commit("m")
        with minio_server(tmp_path / "minio", port=port):
            assert read(storage, "k") == b"before"
            assert writer.commit("m").size == 9
            assert read(storage, "m") == b"meanwhile"
