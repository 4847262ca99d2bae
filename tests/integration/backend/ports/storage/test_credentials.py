"""Where the keys of an object store come from, and what an address may be."""

from pathlib import Path

import pytest
from minio.credentials.providers import StaticProvider

from backend.ports.storage import StorageUnavailable, s3_client
from backend.ports.storage.s3_client import FolderProvider, credentials, endpoint
from backend.settings import Settings


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("minio:9000", ("minio:9000", False)),
        ("http://minio:9000/", ("minio:9000", False)),
        ("https://s3.eu-west-3.amazonaws.com", ("s3.eu-west-3.amazonaws.com", True)),
        ("https://[::1]:9000", ("[::1]:9000", True)),
    ],
)
def test_address_is_host_and_port(url: str, expected: tuple[str, bool]) -> None:
    assert endpoint(url) == expected


@pytest.mark.parametrize(
    "url", ["", "https://", "ftp://minio", "https://minio/bucket", "http://key:secret@minio", "a?b"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="OBJECTSTORE_URL"):
        endpoint(url)


def test_keys_of_the_settings_win(tmp_path: Path) -> None:
    settings = Settings(
        OBJECTSTORE_ACCESSKEY="key",
        OBJECTSTORE_SECRETKEY="secret",
        OBJECTSTORE_CREDENTIALS_FOLDER=tmp_path,
    )
    provider = credentials(settings)
    assert isinstance(provider, StaticProvider)
    assert provider.retrieve().access_key == "key"
    assert "secret" not in repr(settings)


def test_rotated_files_are_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("backend.ports.storage.s3_client.time.monotonic", lambda: now)
    provider = credentials(Settings(OBJECTSTORE_CREDENTIALS_FOLDER=tmp_path))
    assert isinstance(provider, FolderProvider)
    with pytest.raises(StorageUnavailable, match="OBJECTSTORE_ACCESSKEY"):
        provider.retrieve()
    (tmp_path / "OBJECTSTORE_ACCESSKEY").write_text("old\n")
    (tmp_path / "OBJECTSTORE_SECRETKEY").write_text("")
    with pytest.raises(StorageUnavailable, match="empty"):
        provider.retrieve()
    (tmp_path / "OBJECTSTORE_SECRETKEY").write_text("s")
    assert provider.retrieve().access_key == "old"
    (tmp_path / "OBJECTSTORE_ACCESSKEY").write_text("new\n")
    assert provider.retrieve().access_key == "old"
    now += s3_client.LOOK_AGAIN_S + 1
    assert provider.retrieve().access_key == "new"
