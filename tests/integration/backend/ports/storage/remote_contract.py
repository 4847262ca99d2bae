"""What a storage behind a network must do besides: URLs for runners, flat memory, failures in our words."""

import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from backend.ports.storage import Storage, StorageUnavailable, open_storage
from backend.settings import Settings
from tests.integration.backend.ports.cutting import relay
from tests.integration.backend.ports.storage.contract import (
    LARGE,
    StorageContract,
    content,
    pieces,
    read,
    sha256,
    store,
)

MOST_MEMORY = 24 << 20
"""Bytes: the parts in flight and what goes with them, whatever the file's size."""


class RemoteContract(StorageContract):
    """A subclass also gives the fixture `settings`, from which `storage` was opened."""

    @pytest.fixture
    def measured(self) -> Iterator[None]:
        tracemalloc.start()
        yield
        tracemalloc.stop()

    def test_runner_reads_by_url_without_credentials(self, storage: Storage) -> None:
        data = content(LARGE)
        store(storage, "models/k/model", data)
        url = storage.download_url("models/k/model", 60)
        assert url is not None
        assert sha256(httpx.get(url).content) == sha256(data)
        part = httpx.get(url, headers={"Range": "bytes=1000-1999"})
        assert (part.status_code, part.content) == (206, data[1000:2000])

    def test_runner_writes_by_url_without_credentials(self, storage: Storage) -> None:
        url = storage.upload_url("models/k/model", 60)
        assert url is not None
        assert httpx.put(url, content=content(1000)).status_code == 200
        assert read(storage, "models/k/model") == content(1000)
        assert storage.local_path("models/k/model").read_bytes() == content(1000)

    @pytest.mark.usefixtures("measured")
    def test_memory_does_not_follow_the_size_of_a_stream(self, storage: Storage) -> None:
        size = 4 * LARGE
        storage.put("models/k/model", pieces(size))
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
        tracemalloc.reset_peak()
        assert sum(len(piece) for piece in storage.read("models/k/model")) == size
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY

    @pytest.mark.usefixtures("measured")
    def test_memory_does_not_follow_the_size_of_an_adopted_file(
        self, storage: Storage, tmp_path: Path
    ) -> None:
        path = tmp_path / "model"
        with path.open("wb") as file:
            file.truncate(4 * LARGE)
        storage.adopt(path, "models/k/model")
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
        assert storage.size("models/k/model") == 4 * LARGE

    def test_one_copy_serves_all_who_ask_at_once(self, storage: Storage) -> None:
        store(storage, "k", content(LARGE))
        found: list[Path] = []
        threads = [
            threading.Thread(target=lambda: found.append(storage.local_path("k"))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1
        assert len(found) == 4
        assert [path.name for path in found[0].parent.iterdir()] == [found[0].name]

    def test_prefixes_of_one_bucket_do_not_meet(self, storage: Storage, settings: Settings) -> None:
        other = open_storage(settings.model_copy(update={"OBJECTSTORE_PREFIX": "org-2/files"}))
        store(storage, "k", b"ours")
        assert not other.exists("k")
        store(other, "k", b"theirs")
        assert read(storage, "k") == b"ours"
        assert list(other.keys()) == ["k"]

    def test_missing_bucket_is_a_fault_of_the_store_not_a_missing_file(
        self, storage: Storage, settings: Settings
    ) -> None:
        other = open_storage(settings.model_copy(update={"OBJECTSTORE_BUCKET": "nowhere"}))
        store(storage, "k", b"x")
        with pytest.raises(StorageUnavailable):
            list(other.keys())
        with pytest.raises(StorageUnavailable):
            other.put("k", [b"abc"])

    def test_file_whose_upload_failed_can_be_committed_later(
        self, storage: Storage, settings: Settings
    ) -> None:
        away = open_storage(settings.model_copy(update={"OBJECTSTORE_BUCKET": "later"}))
        with away.writer() as writer:
            writer.write(b"abc")
            with pytest.raises(StorageUnavailable):
                writer.commit("k")
            away.prepare()
            assert writer.commit("k").size == 3
        assert read(away, "k") == b"abc"
        away.delete("k")

    def test_reading_goes_on_where_the_connection_was_cut(
        self, storage: Storage, settings: Settings
    ) -> None:
        store(storage, "k", content(LARGE))
        with relay(urlsplit(settings.OBJECTSTORE_URL).netloc) as between:
            address = f"http://127.0.0.1:{between.port}"
            far = open_storage(settings.model_copy(update={"OBJECTSTORE_URL": address}))
            reading = far.read("k")
            data = next(reading)
            between.cut()
            data += b"".join(reading)
        assert sha256(data) == sha256(content(LARGE))

    def test_store_that_is_away_is_told_as_such(self, settings: Settings) -> None:
        far = open_storage(settings.model_copy(update={"OBJECTSTORE_URL": "http://127.0.0.1:1"}))
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            far.exists("k")
        with pytest.raises(OSError, match="cannot be reached"):
            far.put("k", [b"abc"])
