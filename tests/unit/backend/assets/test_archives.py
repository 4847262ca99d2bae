"""Hostile and honest archives (compute.md 9.4, goals: bounded memory and time, nothing left behind)."""

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.assets.archives import (
    ArchiveRefused,
    Limits,
    NotAnArchive,
    check,
    folder_hash,
    is_tar,
    unpack,
)
from backend.assets.archives import errors as reasons

SMALL = Limits(entries=1_000, unpacked=8 * 1024**2, ratio=10, free=1024**2)


def _zip(path: Path, *files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


def _member(name: str, content: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info, content


def _tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


def _hash(*contents: bytes) -> str:
    digests = sorted(hashlib.sha256(content).hexdigest() for content in contents)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_of_any_compression_is_read_and_hashed(tmp_path: Path, mode: str) -> None:
    big = bytes(range(256)) * 4096  # several chunks, and a multiple of the block size
    members = [_member("a/one", big), _member("two", b"2" * 512), _member("three", b"3")]
    path = _tar(tmp_path / "archive", *members, mode=mode)
    content = check(path)
    assert content.entries == content.files == 3
    assert content.raw_names_at_root == {"two", "three"}
    assert content.folder_hash == _hash(big, b"2" * 512, b"3")
    folder = tmp_path / "folder"
    folder.mkdir()
    unpack(path, folder)
    assert (folder / "a" / "one").read_bytes() == big
    assert folder_hash(folder) == content.folder_hash


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_zip_of_any_method_is_read_and_hashed(tmp_path: Path, method: int) -> None:
    files = [("Dockerfile", b"FROM x"), ("dir/", b""), ("dir/f.py", b"pass" * 1000)]
    path = _zip(tmp_path / "archive", *files, method=method)
    content = check(path)
    assert (content.entries, content.files) == (3, 2)
    assert content.raw_names_at_root == {"Dockerfile"}
    folder = tmp_path / "folder"
    folder.mkdir()
    unpack(path, folder)
    assert (folder / "dir" / "f.py").read_bytes() == b"pass" * 1000
    assert folder_hash(folder) == content.folder_hash == _hash(b"FROM x", b"pass" * 1000)


def test_executable_bit_survives(tmp_path: Path) -> None:
    path = _tar(
        tmp_path / "archive", _member("run", b"#!", mode=0o755), _member("f", b"", mode=0o600)
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    unpack(path, folder)
    assert (folder / "run").stat().st_mode & 0o777 == 0o755
    assert (folder / "f").stat().st_mode & 0o777 == 0o644


def test_hard_link_inside_counts_as_a_file(tmp_path: Path) -> None:
    link = _member("b", type=tarfile.LNKTYPE, linkname="a")
    content = check(_tar(tmp_path / "archive", _member("a", b"x"), link))
    assert content.folder_hash == _hash(b"x", b"x")


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/passwd", "..", "a/../..", "C:/x", "..\\x", "\\x", "a\\..\\..\\x"],
)
def test_traversal_is_refused(tmp_path: Path, name: str) -> None:
    for path in (
        _zip(tmp_path / "zip", ("ok", b""), (name, b"x")),
        _tar(tmp_path / "tar", _member("ok"), _member(name, b"x")),
    ):
        with pytest.raises(ArchiveRefused, match="traversal"):
            check(path)


def test_names_that_stay_inside_are_accepted(tmp_path: Path) -> None:
    path = _zip(tmp_path / "zip", ("a/../b", b"1"), ("./c", b"2"), ("x..y", b"3"), ("..z", b"4"))
    assert check(path).files == 4


def _symlink_in_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system = 3
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return path


def _special(kind: bytes, linkname: str = "") -> Callable[[Path], Path]:
    return lambda path: _tar(path, _member("x", type=kind, linkname=linkname))


@pytest.mark.parametrize(
    "make",
    [
        _symlink_in_zip,
        _special(tarfile.SYMTYPE, "/etc/passwd"),
        _special(tarfile.LNKTYPE, "nothing"),
        _special(tarfile.FIFOTYPE),
        _special(tarfile.CHRTYPE),
        _special(tarfile.BLKTYPE),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(ArchiveRefused, match="links"):
        check(make(tmp_path / "archive"))


def test_hard_link_that_leaves_the_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveRefused, match="traversal"):
        check(_special(tarfile.LNKTYPE, "../x")(tmp_path / "archive"))


@pytest.mark.parametrize(
    "names",
    [("a", "a"), ("a", "A"), ("d/a", "D/A"), ("a", "a/b"), ("a/b", "a"), ("é", "e\u0301")],
)
def test_duplicate_and_case_colliding_names_are_refused(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    members = [_member(name, b"x") for name in names]
    with pytest.raises(ArchiveRefused, match="duplicate"):
        check(_tar(tmp_path / "tar", *members))


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "zip", ("a", b"x"))
    data = bytearray(path.read_bytes())
    directory = data.find(b"PK\x01\x02")
    data[directory + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveRefused, match="encrypted"):
        check(path)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_tar_bomb_is_refused_while_it_unpacks(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        info = tarfile.TarInfo("zeros")
        info.size = 90 * 1024**2
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    path = tmp_path / "bomb"
    path.write_bytes(compress(raw.getvalue()))
    with pytest.raises(ArchiveRefused, match="too large"):
        check(path, SMALL)


def test_header_that_unpacks_to_a_gigabyte_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1024**3
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(64):
            file.write(bytes(1024**2))
    tracemalloc.start()
    with pytest.raises(ArchiveRefused, match="too large"):
        check(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024**2


def test_zip_bomb_is_refused_by_its_declared_size(tmp_path: Path) -> None:
    path = _zip(tmp_path / "bomb", ("zeros", bytes(64 * 1024**2)))
    assert path.stat().st_size < 100_000
    with pytest.raises(ArchiveRefused, match="too large"):
        check(path, SMALL)


def test_zip_that_lies_about_its_size_is_damaged(tmp_path: Path) -> None:
    path = _zip(tmp_path / "bomb", ("zeros", bytes(4 * 1024**2)))
    data = bytearray(path.read_bytes())
    directory = data.find(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 10)
    path.write_bytes(data)
    with pytest.raises(NotAnArchive):
        check(path)


def _million_entries(path: Path) -> None:
    """A zip64 directory of 1,000,000 records, written without zipfile."""
    count, record = 1_000_000, b""
    with path.open("wb") as file:
        file.write(b"PK\x03\x04" + bytes(26))
        start = file.tell()
        for block in range(0, count, 10_000):
            records = []
            for number in range(block, block + 10_000):
                name = b"%07d" % number
                record = struct.pack(
                    "<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 33,
                    0, 0, 0, len(name), 0, 0, 0, 0, 0, 0,
                )  # fmt: skip
                records.append(record + name)
            file.write(b"".join(records))
        size = file.tell() - start
        file.write(
            struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
        )
        file.write(struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1))
        file.write(
            struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        )


def test_zip_of_a_million_entries_is_refused_in_bounded_memory_and_time(tmp_path: Path) -> None:
    path = tmp_path / "million.zip"
    _million_entries(path)
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(ArchiveRefused) as refused:
        check(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(refused.value) == reasons.TOO_MANY
    assert peak < 8 * 1024**2
    assert time.monotonic() - began < 10


def test_tar_of_too_many_entries_is_refused(tmp_path: Path) -> None:
    path = _tar(tmp_path / "tar", *[_member(f"f{number}") for number in range(1_001)])
    with pytest.raises(ArchiveRefused, match="too many"):
        check(path, SMALL)


def test_nested_headers_are_damage_and_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "tar"
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 512
    content = b"9 a=bcde\n".ljust(512, b"\0")
    with gzip.open(path, "wb") as file:
        file.write((info.tobuf(tarfile.USTAR_FORMAT) + content) * 2_000)
    with pytest.raises(ArchiveRefused):
        check(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04", b"\x1f\x8b\x08", bytes(10), b"x" * 600]
)
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NotAnArchive):
        check(path)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_truncated_tar_is_refused(tmp_path: Path, mode: str) -> None:
    noise = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(3_000))
    path = _tar(tmp_path / "tar", _member("a", noise), _member("b", noise), mode=mode)
    data = path.read_bytes()
    path.write_bytes(data[: len(noise) // 2])
    with pytest.raises(NotAnArchive):
        check(path)


def test_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "zip", ("a", b"x" * 10_000), ("b", b"y" * 10_000))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(NotAnArchive):
        check(path)


def test_nothing_is_left_of_a_refused_archive(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = _tar(tmp_path / "tar", _member("d/a", b"x"), _member("../b", b"x"))
    with pytest.raises(ArchiveRefused):
        unpack(path, folder)
    assert list(folder.iterdir()) == []
    assert not (tmp_path / "b").exists()


def test_hash_of_a_folder_takes_no_notice_of_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "outside").symlink_to("/etc/passwd")
    assert folder_hash(tmp_path) == _hash(b"x")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_is_told_from_other_files_by_its_beginning(tmp_path: Path, mode: str) -> None:
    assert is_tar(_tar(tmp_path / "tar", _member("a", b"x"), mode=mode))
    assert is_tar(_tar(tmp_path / "linked", _member("x", type=tarfile.SYMTYPE, linkname="/")))
    assert not is_tar(_zip(tmp_path / "zip", ("a", b"x")))
    (tmp_path / "zeros").write_bytes(bytes(10_240))
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"hello"))
    assert not is_tar(tmp_path / "zeros")
    assert not is_tar(tmp_path / "text.gz")


def test_empty_archives_have_no_entries(tmp_path: Path) -> None:
    assert check(_tar(tmp_path / "tar")).entries == 0
    assert check(_zip(tmp_path / "zip")).entries == 0
