"""Layers: what a change leaves, the same bytes for the same files, and hostile ones refused."""

import io
import tarfile
from pathlib import Path

import pytest

from backend.engine.images.layers import LayerWriter, Listing, changes, snapshot
from backend.engine.images.manifest import BadImage
from backend.engine.images.neutral import Neutral, neutral_link, repair_script
from backend.engine.images.unpacking import Unpacker, remove_tree


def hostile(path: Path, *entries: tuple[str, bytes, str]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, kind, target in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = 2 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"hi"))
    return path


def lay(root: Path, *layers: Path, plain: bool = False) -> Unpacker:
    root.mkdir(exist_ok=True)
    unpacker = Unpacker(root, read_only=True, plain=plain)
    for layer in layers:
        unpacker.lay(layer)
    unpacker.check_links()
    return unpacker


FILE, FOLDER, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE


@pytest.mark.parametrize(
    "entries",
    [
        [("/x", FILE, "")],
        [("../x", FILE, "")],
        [("a/../../x", FILE, "")],
        [("./x", FILE, "")],
        [("l", LINK, "/etc/passwd")],
        [("l", LINK, "../x")],
        [("d/l", LINK, "../../x")],
        [("l", LINK, "d"), ("l/x", FILE, "")],
        [("h", tarfile.LNKTYPE, "x")],
        [("c", tarfile.CHRTYPE, "")],
        [("f", tarfile.FIFOTYPE, "")],
        [(".wh...", FILE, "")],
        [("d/e/b", LINK, "../.."), ("d/a", LINK, "e/b/../x")],
    ],
)
def test_layers_that_reach_out_are_refused(
    tmp_path: Path, entries: list[tuple[str, bytes, str]]
) -> None:
    layer = hostile(tmp_path / "layer", *entries)
    with pytest.raises(BadImage):
        lay(tmp_path / "root", layer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer", "root"]


@pytest.mark.parametrize("entry", [("l", LINK, "x"), (".wh.x", FILE, "")])
def test_upper_layers_have_neither_links_nor_deletions(
    tmp_path: Path, entry: tuple[str, bytes, str]
) -> None:
    layer = hostile(tmp_path / "layer", entry)
    with pytest.raises(BadImage):
        lay(tmp_path / "root", layer, plain=True)


def test_something_else_than_a_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "layer").write_bytes(b"x" * 4096)
    with pytest.raises(BadImage):
        lay(tmp_path / "root", tmp_path / "layer")


def test_later_layers_replace_and_delete(tmp_path: Path) -> None:
    first = hostile(
        tmp_path / "1", ("a", FILE, ""), ("d/x", FILE, ""), ("e/y", FILE, ""), ("l", LINK, "d")
    )
    second = hostile(tmp_path / "2", (".wh.a", FILE, ""), ("d", FILE, ""), ("l/z", FILE, ""))
    listing = Listing()
    listing.add(first)
    assert listing.resolve("/l/x/../q") == "d/q"
    with pytest.raises(BadImage):
        lay(tmp_path / "refused", first, second)
    second = hostile(tmp_path / "2", (".wh.a", FILE, ""), ("d", FILE, ""), ("l", FOLDER, ""))
    root = tmp_path / "root"
    unpacker = lay(root, first, second)
    unpacker.seal()
    assert sorted(path.name for path in root.iterdir()) == ["d", "e", "l"]
    assert (root / "d").is_file()
    assert (root / "d").stat().st_mode & 0o222 == 0
    assert (root / "e").stat().st_mode & 0o222 == 0
    listing.add(second)
    assert listing.folders == {"", "e", "l"}
    remove_tree(root)
    assert not root.exists()


def test_a_change_is_seen_whatever_times_say(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("same", "changed", "gone/x", "kept/gone"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1")
    before = snapshot(root)
    (root / "changed").write_text("2")
    (root / "gone/x").unlink()
    (root / "gone").rmdir()
    (root / "kept/gone").unlink()
    (root / "new").symlink_to("same")
    assert changes(before, snapshot(root)) == (["changed", "new"], ["gone", "kept/gone"])


def test_a_folder_that_became_a_file_leaves_no_deletions_below(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a").touch()
    before = snapshot(tmp_path)
    (tmp_path / "x/a").unlink()
    (tmp_path / "x").rmdir()
    (tmp_path / "x").touch()
    assert changes(before, snapshot(tmp_path)) == (["x"], [])


def test_the_same_entries_give_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for number in range(2):
        with LayerWriter(tmp_path / str(number)) as writer:
            writer.folder("a")
            writer.text("a/b", b"x")
            writer.link("c", "a/b")
        digests.add((writer.digest, writer.size, (tmp_path / str(number)).read_bytes()))
    assert len(digests) == 1


def neutral(root: Path, name: str, data: bytes) -> bytes:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with path.open("rb") as opened:
        content, _ = Neutral(root, [(root, "")]).content(path, opened, len(data))
        return content.read()


def test_local_paths_leave_files(tmp_path: Path) -> None:
    place = str(tmp_path).encode()
    assert neutral(tmp_path, "t", b"see " + place + b"/home/x") == b"see /home/x"
    binary = b"\0ELF" + place + b"/home/x\0" + b"y" * 10
    cleaned = neutral(tmp_path, "b", binary)
    assert len(cleaned) == len(binary)
    assert place not in cleaned
    assert cleaned.startswith(b"\0ELF//")
    assert (
        neutral(tmp_path, "lib/site/p.pth", place + b"/src\nimport x\n") == b"../../src\nimport x\n"
    )
    assert neutral(tmp_path, "empty", b"") == b""


def test_scripts_find_their_interpreter_by_their_own_place(tmp_path: Path) -> None:
    script = tmp_path / "venv/bin/tool"
    script.parent.mkdir(parents=True)
    (tmp_path / "venv/bin/python").symlink_to("/bin/sh")
    for first in (f"{tmp_path}/venv/bin/python3.11", "/base/bin/python3.11"):
        script.write_text(f"#!{first}\nprint(1)\n")
        script.chmod(0o755)
        repair_script(script, str(tmp_path), "/base/bin/python3.11")
        text = script.read_text()
        assert text.startswith("#!/bin/sh\n'''exec'")
        assert text.endswith("\nprint(1)\n")
        assert str(tmp_path) not in text
        assert "/base" not in text
        assert script.stat().st_mode & 0o100


def test_links_become_relative_or_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/l").symlink_to(tmp_path / "x")
    assert neutral_link("d/l", f"{tmp_path}/x", tmp_path) == "../x"
    assert neutral_link("d/l", "../x", tmp_path) == "../x"
    assert neutral_link("d/l", "/etc/passwd", tmp_path) is None
    assert neutral_link("d/l", "../../x", tmp_path) is None
