"""Files of an organization on a volume."""

from pathlib import Path

import pytest

from backend.ports.storage import FilesystemStorage, Storage, open_storage
from backend.settings import Settings
from tests.integration.backend.ports.storage.contract import StorageContract, store


class TestFilesystem(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return FilesystemStorage(tmp_path / "media")

    def test_it_has_no_urls(self, storage: Storage) -> None:
        store(storage, "k", b"x")
        assert storage.is_local
        assert storage.download_url("k", 60) is None
        assert storage.upload_url("k", 60) is None

    def test_it_is_the_store_when_no_other_is_named(self, tmp_path: Path) -> None:
        assert isinstance(open_storage(Settings(MEDIA_ROOT=tmp_path)), FilesystemStorage)
