"""Unpacking the archive, choosing files for COPY, and where they land."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from backend.engine.images.context import Context, ContextError, unpack_context
from backend.engine.images.copying import CopyPlan
from backend.engine.images.dockerfile import Copy
from backend.engine.images.layers import Listing


def tar_of(path: Path, *entries: tarfile.TarInfo | str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            info.size = 2 if info.isreg() else 0
            archive.addfile(info, io.BytesIO(b"hi"))
    return path


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def context(tmp_path: Path) -> Context:
    for name in ("a.py", "b.py", "c.txt", "lib/x.py", "lib/deep/y.py", "lib/z.pyc"):
        path = tmp_path / "context" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return Context(tmp_path / "context")


def test_zip_and_tar_are_unpacked_with_the_executable_bit(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("dir/run.sh")
        info.external_attr = 0o100755 << 16
        archive.writestr(info, "x")
    (tmp_path / "zip").mkdir()
    unpack_context(tmp_path / "a.zip", tmp_path / "zip")
    assert (tmp_path / "zip/dir/run.sh").stat().st_mode & 0o777 == 0o755
    (tmp_path / "tar").mkdir()
    unpack_context(tar_of(tmp_path / "a.tar.gz", "./Dockerfile"), tmp_path / "tar")
    assert (tmp_path / "tar/Dockerfile").read_text() == "hi"


@pytest.mark.parametrize(
    "bad",
    [
        "../x",
        "/x",
        "a/../../x",
        entry("l", tarfile.SYMTYPE, "/etc"),
        entry("l", tarfile.LNKTYPE, "x"),
        entry("d", tarfile.CHRTYPE),
        entry("f", tarfile.FIFOTYPE),
    ],
)
def test_archives_that_reach_out_are_refused(tmp_path: Path, bad: tarfile.TarInfo | str) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ContextError):
        unpack_context(tar_of(tmp_path / "a.tgz", bad), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tgz", "out"]


def test_what_an_upload_accepts_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    archive = tar_of(
        tmp_path / "a.tgz", "Dockerfile", entry("again", tarfile.LNKTYPE, "Dockerfile")
    )
    unpack_context(archive, tmp_path / "out")
    assert (tmp_path / "out/again").read_text() == "hi"


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"nothing of the kind")
    with pytest.raises(ContextError, match="cannot be read"):
        unpack_context(tmp_path / "a", tmp_path)


def test_wildcards_stay_within_one_name(context: Context) -> None:
    assert context.chosen("*.py") == ["a.py", "b.py"]
    assert context.chosen("lib/*.py") == ["lib/x.py"]
    assert context.chosen("[ab].py") == ["a.py", "b.py"]
    assert context.chosen("[^a].py") == ["b.py"]
    assert context.chosen("/../a.py") == ["a.py"]


@pytest.mark.parametrize("pattern", ["none", "*.none", "lib/none"])
def test_absent_sources_are_refused(context: Context, pattern: str) -> None:
    with pytest.raises(ContextError, match="COPY failed"):
        context.chosen(pattern)


def test_dockerignore_leaves_files_out_and_takes_exceptions_back(context: Context) -> None:
    (context.folder / ".dockerignore").write_text("# c\n**/*.pyc\nlib\n!lib/deep\nc.txt\n")
    ignoring = Context(context.folder)
    names = [name for name, path in ignoring.files("") if path]
    assert names == [".dockerignore", "a.py", "b.py", "lib/deep/y.py"]
    with pytest.raises(ContextError):
        ignoring.chosen("c.txt")


@pytest.mark.parametrize(
    ("sources", "target", "expected"),
    [
        (("a.py",), "/sandbox/", {"sandbox/a.py"}),
        (("a.py",), "/new", {"new"}),
        (("a.py",), "/there", {"there/a.py"}),
        (("a.py", "c.txt"), "/x/", {"x/a.py", "x/c.txt"}),
        (("*.py",), "/", {"a.py", "b.py"}),
        (("lib",), "/l", {"l", "l/x.py", "l/z.pyc", "l/deep", "l/deep/y.py"}),
        (("a.py",), "/link/", {"there/a.py"}),
        (("a.py",), "/up/../../../etc/", {"etc/a.py"}),
    ],
)
def test_files_land_where_docker_puts_them(
    context: Context, tmp_path: Path, sources: tuple[str, ...], target: str, expected: set[str]
) -> None:
    listing = Listing({"", "there"}, {"link": "there"})
    plan = CopyPlan(Copy("COPY", sources, target), context, listing, tmp_path).gather()
    assert set(plan.names) == expected


def test_several_matches_need_a_folder(context: Context, tmp_path: Path) -> None:
    plan = CopyPlan(Copy("COPY", ("*.py",), "/x"), context, Listing(), tmp_path)
    with pytest.raises(ContextError, match="need a folder"):
        plan.gather()


def test_add_takes_archives_apart_and_copy_does_not(context: Context, tmp_path: Path) -> None:
    tar_of(context.folder / "t.tgz", "d/one", "two")
    added = CopyPlan(Copy("ADD", ("t.tgz",), "/x/", unpack=True), context, Listing(), tmp_path)
    assert set(added.gather().names) == {"x", "x/d", "x/d/one", "x/two"}
    copied = CopyPlan(Copy("COPY", ("t.tgz",), "/x/"), context, Listing(), tmp_path)
    assert set(copied.gather().names) == {"x/t.tgz"}
