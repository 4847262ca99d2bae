"""Presigned files: what is taken, what is refused."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ray_jobs.pod import transfer
from tests.unit.ray_jobs.pod.api import PodApi


@pytest.fixture
def store() -> Iterator[PodApi]:
    made = PodApi(bytes(32))
    yield made
    made.close()


def archive(*entries: tuple[str, bytes | None, bytes]) -> bytes:
    """A tar of (name, content or None for another type, type)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content, kind in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            entry.linkname = "/etc/passwd"
            entry.size = len(content or b"")
            tar.addfile(entry, io.BytesIO(content or b""))
    return packed.getvalue()


def test_a_download_that_is_cut_goes_on_where_it_was(store: PodApi, tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    url = store.put("file", content)
    store.cut.add("file")
    transfer.download(url, tmp_path / "file", hashlib.sha256(content).hexdigest())
    assert (tmp_path / "file").read_bytes() == content


def test_a_file_that_is_not_there_is_not_asked_for_again(store: PodApi, tmp_path: Path) -> None:
    with pytest.raises(transfer.TransferFailed, match="status 404"):
        transfer.download(f"{store.url}/files/none", tmp_path / "file")


def test_another_file_is_refused(store: PodApi, tmp_path: Path) -> None:
    url = store.put("file", b"other")
    with pytest.raises(transfer.TransferFailed, match="not the file"):
        transfer.download(url, tmp_path / "file", "0" * 64)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "nothing", "http://"])
def test_addresses_are_http(url: str, tmp_path: Path) -> None:
    with pytest.raises(transfer.TransferFailed, match="no http address"):
        transfer.download(url, tmp_path / "file")


def test_an_upload_arrives_whole(store: PodApi, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"weights" * 100_000)
    with (tmp_path / "model").open("rb") as file:
        file.read(10)
        transfer.upload(f"{store.url}/files/out?signature=x", file, "model")
    assert store.files["out?signature=x"] == b"weights" * 100_000


def test_folders_and_files_are_unpacked(tmp_path: Path) -> None:
    packed = archive(("a", None, tarfile.DIRTYPE), ("./a/b.csv", b"1,2", tarfile.REGTYPE))
    (tmp_path / "sample.tar").write_bytes(packed)
    transfer.unpack(tmp_path / "sample.tar", tmp_path / "sample")
    assert (tmp_path / "sample/a/b.csv").read_bytes() == b"1,2"


@pytest.mark.parametrize(
    "entry",
    [
        ("../outside", b"x", tarfile.REGTYPE),
        ("/etc/outside", b"x", tarfile.REGTYPE),
        ("a/../../outside", b"x", tarfile.REGTYPE),
        ("link", None, tarfile.SYMTYPE),
        ("link", None, tarfile.LNKTYPE),
        ("device", None, tarfile.CHRTYPE),
        ("pipe", None, tarfile.FIFOTYPE),
    ],
)
def test_strange_archives_are_refused(
    entry: tuple[str, bytes | None, bytes], tmp_path: Path
) -> None:
    (tmp_path / "sample.tar").write_bytes(archive(entry))
    with pytest.raises(transfer.TransferFailed, match="strange entry"):
        transfer.unpack(tmp_path / "sample.tar", tmp_path / "sample")
    assert not (tmp_path / "outside").exists()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sample.tar").write_bytes(b"no archive" * 200)
    with pytest.raises(transfer.TransferFailed):
        transfer.unpack(tmp_path / "sample.tar", tmp_path / "sample")
