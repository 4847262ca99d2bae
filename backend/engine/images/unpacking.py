"""Unpacking a layer that anybody may have written: nothing lands outside the target, links stay inside."""

import os
import posixpath
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from backend.engine.images.manifest import BadImage

WHITEOUT = ".wh."
MOST_ENTRIES = 2_000_000
_DEEPEST = 256
_CHUNK = 1 << 20


def entries(layer: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The entries of a layer with checked names and kinds, each with the open archive.

    Raises:
        BadImage: not a plain tar, a name that leaves the root, a device, a hard link, too many entries.
    """
    try:
        with tarfile.open(layer, "r:") as archive:
            for number, entry in enumerate(archive):
                if number >= MOST_ENTRIES:
                    raise BadImage("a layer has too many entries")
                _check(entry)
                yield archive, entry
                archive.members = []  # type: ignore[attr-defined]  # else it keeps every entry
    except (tarfile.TarError, EOFError) as error:
        raise BadImage(f"a layer is damaged: {error}") from None


def _check(entry: tarfile.TarInfo) -> None:
    parts = entry.name.split("/")
    if entry.name.startswith("/") or "\0" in entry.name or len(parts) > _DEEPEST:
        raise BadImage(f"a layer has a bad name: {entry.name[:200]!r}")
    if any(part in ("", ".", "..") for part in parts):
        raise BadImage(f"a layer has a bad name: {entry.name[:200]!r}")
    if not (entry.isreg() or entry.isdir() or entry.issym()) or entry.issparse():
        raise BadImage(f"a layer holds something that is no file: {entry.name[:200]!r}")
    if entry.issym() and leaves_root(entry.name, entry.linkname):
        raise BadImage(f"a link leads out of the image: {entry.name[:200]!r}")


def leaves_root(name: str, target: str) -> bool:
    """Whether the symbolic link `name` (relative to the root) to `target` may lead out of the root."""
    if target.startswith("/") or "\0" in target or not target:
        return True
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return path.startswith("../") or path == ".."


class Unpacker:
    """Lays layers one over the other into `root`, a folder of which nobody else writes.

    `plain` refuses links and deletions (layers above the environment have none). No path is followed through
    a link: a parent that is one is an error.
    """

    def __init__(
        self,
        root: Path,
        *,
        read_only: bool,
        plain: bool = False,
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        """`pulse` is called between entries and pieces of files; what it raises ends the unpacking."""
        self._pulse = pulse
        self._root = root
        self._read_only = read_only
        self._plain = plain
        self._folders: set[str] = {""}
        self._links: set[str] = set()
        self._environments: set[str] = set()

    def lay(self, layer: Path) -> None:
        """Raises BadImage as `entries` does."""
        for archive, entry in entries(layer):
            self._pulse()
            folder, _, base = entry.name.rpartition("/")
            self._enter(folder)
            if self._plain and (entry.issym() or base.startswith(WHITEOUT)):
                raise BadImage(f"not allowed above the environment: {entry.name[:200]!r}")
            path = self._root / entry.name
            if base.startswith(WHITEOUT):
                self._remove(folder, base.removeprefix(WHITEOUT))
            elif entry.isdir():
                if path.is_symlink():
                    path.unlink()
                self._enter(entry.name)
            elif entry.issym():
                self._clear(entry.name)
                path.symlink_to(entry.linkname)
                self._links.add(entry.name)
            else:
                self._clear(entry.name)
                self._write(path, archive, entry)
                if base == "pyvenv.cfg":
                    self._environments.add(folder)

    def _write(self, path: Path, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        mode = 0o755 if entry.mode & 0o100 else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        source = archive.extractfile(entry)
        if source is None:
            raise BadImage(f"a layer is damaged at {entry.name[:200]!r}")
        with os.fdopen(
            os.open(path, flags, mode & ~0o222 if self._read_only else mode), "wb"
        ) as out:
            while piece := source.read(_CHUNK):
                out.write(piece)
                self._pulse()

    def _enter(self, folder: str) -> None:
        """Make sure that `folder` is a real folder, its parents too."""
        if folder in self._folders:
            return
        self._enter(folder.rpartition("/")[0])
        path = self._root / folder
        if path.is_symlink():
            raise BadImage(f"a layer writes through a link: {folder[:200]!r}")
        if not path.is_dir():
            path.unlink(missing_ok=True)
            path.mkdir(mode=0o755)
        self._folders.add(folder)

    def _clear(self, name: str) -> None:
        path = self._root / name
        if path.is_dir() and not path.is_symlink():
            self._folders = {""}
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _remove(self, folder: str, base: str) -> None:
        if base in ("", ".", ".."):
            raise BadImage("a layer deletes nothing that has a name")
        name = posixpath.join(folder, base)
        self._clear(name)

    @property
    def environments(self) -> list[str]:
        """Folders with a pyvenv.cfg, relative to the root."""
        return [e for e in sorted(self._environments) if (self._root / e / "pyvenv.cfg").is_file()]

    def check_links(self) -> None:
        """Refuse links that lead out over other links, which no look at one name can see.

        Raises:
            BadImage: there is one.
        """
        inside = os.path.realpath(self._root)
        for name in self._links:
            place = os.path.realpath(self._root / name)
            if place != inside and not place.startswith(inside + "/"):
                raise BadImage(f"a link leads out of the image: {name[:200]!r}")

    def seal(self) -> None:
        """Take the write permission from every folder: the last step, `remove_tree` undoes it."""
        for folder, _, _ in os.walk(self._root):
            os.chmod(folder, 0o555)  # noqa: PTH101, S103


def remove_tree(folder: Path) -> None:
    """Delete a tree whose folders may be read-only; links are never followed. Missing is fine."""
    if not folder.is_dir() or folder.is_symlink():
        folder.unlink(missing_ok=True)
        return
    for place, _, _ in os.walk(folder):
        os.chmod(place, 0o700)  # noqa: PTH101
    shutil.rmtree(folder, ignore_errors=True)
