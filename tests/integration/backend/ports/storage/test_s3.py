"""Files of an organization in an S3 bucket; what differs between stores is tried on MinIO in tests/cluster."""

import pytest

from backend.ports.storage import Storage
from backend.ports.storage.s3 import S3Storage
from tests.integration.backend.ports.storage.remote_contract import RemoteContract


class TestS3(RemoteContract):
    @pytest.fixture
    def storage(self, s3: Storage) -> Storage:
        return s3

    def test_it_is_the_store_when_an_address_is_given(self, storage: Storage) -> None:
        assert isinstance(storage, S3Storage)
        assert not storage.is_local
