"""The mirror of a WORKDIR, and what is left after emptying."""

from pathlib import Path

import pytest

from ray_jobs.agent import places


@pytest.fixture
def image(tmp_path: Path) -> Path:
    workdir = tmp_path / "image/home/user"
    (workdir / "pkg/deep").mkdir(parents=True)
    (workdir / "pkg/deep/a.py").write_text("a")
    (workdir / "venv/bin").mkdir(parents=True)
    (workdir / "venv/pyvenv.cfg").write_text("")
    (workdir / "function.py").write_text("code")
    (workdir / "weights.bin").write_bytes(bytes(2000))
    (workdir / "relative").symlink_to("function.py")
    (workdir / "outward").symlink_to("../shared")
    return workdir


def test_small_things_are_copied_and_large_ones_linked(image: Path, tmp_path: Path) -> None:
    places.mirror(str(image), str(tmp_path / "root"), files=10, size=1000)
    root = tmp_path / "root"
    assert (root / "function.py").read_text() == "code"
    assert not (root / "function.py").is_symlink()
    assert not (root / "pkg").is_symlink()
    assert (root / "pkg/deep/a.py").read_text() == "a"
    assert (root / "venv").readlink() == image / "venv"
    assert (root / "weights.bin").readlink() == image / "weights.bin"


def test_links_keep_their_meaning(image: Path, tmp_path: Path) -> None:
    places.mirror(str(image), str(tmp_path / "root"))
    assert (tmp_path / "root/relative").read_text() == "code"
    assert (tmp_path / "root/outward").readlink() == image.parent / "shared"


def test_a_copy_can_be_written_and_the_image_stays(image: Path, tmp_path: Path) -> None:
    (image / "function.py").chmod(0o444)
    places.mirror(str(image), str(tmp_path / "root"))
    (tmp_path / "root/function.py").write_text("changed")
    assert (image / "function.py").read_text() == "code"


def test_a_tree_of_too_many_files_is_linked(image: Path, tmp_path: Path) -> None:
    for number in range(20):
        (image / f"pkg/{number}").write_text("")
    places.mirror(str(image), str(tmp_path / "root"), files=10)
    assert (tmp_path / "root/pkg").is_symlink()


def test_a_missing_working_folder_is_an_empty_one(tmp_path: Path) -> None:
    places.mirror(str(tmp_path / "none"), str(tmp_path / "root"))
    assert list((tmp_path / "root").iterdir()) == []


def test_emptying_follows_no_link(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("")
    full = tmp_path / "full"
    (full / "shut/inner").mkdir(parents=True)
    (full / "shut").chmod(0)
    (full / "link").symlink_to(kept)
    assert places.empty([str(full), str(tmp_path / "none")]) == []
    assert list(full.iterdir()) == []
    assert (kept / "file").exists()


def test_publishing_touches_regular_files_only(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("")
    (tmp_path / "secret").chmod(0o600)
    out = tmp_path / "out"
    out.mkdir()
    (out / "model").write_text("")
    (out / "model").chmod(0o600)
    (out / "link").symlink_to(tmp_path / "secret")
    places.publish(str(out))
    assert (out / "model").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
