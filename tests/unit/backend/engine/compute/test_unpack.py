"""Data samples: what is unpacked, what is refused, and the folder hash."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from backend.engine.compute.unpack import Damaged, folder_hash, unpack


def tar(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def kind(name: str, type_: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type_, target
    return info


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_a_tar_is_unpacked(tmp_path: Path, target: Path) -> None:
    unpack(tar(tmp_path / "a.tar.gz", ("x/data.csv", b"1"), ("./y.csv", b"2")), target)
    assert (target / "x" / "data.csv").read_bytes() == b"1"
    assert (target / "y.csv").read_bytes() == b"2"


def test_a_zip_is_unpacked(tmp_path: Path, target: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/data.csv", "1")
    unpack(tmp_path / "a.zip", target)
    assert (target / "x" / "data.csv").read_text() == "1"


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
def test_nothing_leaves_the_folder(tmp_path: Path, target: Path, name: str) -> None:
    with pytest.raises(Damaged, match="leaves"):
        unpack(tar(tmp_path / "a.tar", (name, b"x")), target)
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("type_", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, target: Path, type_: bytes) -> None:
    with pytest.raises(Damaged, match="link or a device"):
        unpack(tar(tmp_path / "a.tar", kind("x", type_, "/etc/passwd")), target)


def test_another_format_is_refused(tmp_path: Path, target: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    with pytest.raises(Damaged, match="neither"):
        unpack(tmp_path / "a", target)


def test_the_folder_hash_is_of_the_sorted_hashes_of_contents(target: Path) -> None:
    (target / "b").mkdir()
    (target / "b" / "1").write_bytes(b"one")
    (target / "2").write_bytes(b"two")
    digests = sorted(hashlib.sha256(content).hexdigest() for content in (b"one", b"two"))
    assert folder_hash(target) == hashlib.sha256("".join(digests).encode()).hexdigest()
