"""Writing layers: deterministic tars of what one instruction changed, free of local paths (rule 31)."""

import hashlib
import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from backend.engine.images.unpacking import WHITEOUT, entries

_MOMENT = 1_000_000_000  # one fixed mtime: the same files give the same bytes


class _Hashing(io.RawIOBase):
    """A sink that hashes and counts what it passes on."""

    def __init__(self, out: IO[bytes], pulse: Callable[[], None]) -> None:
        self._out = out
        self._pulse = pulse
        self.hash = hashlib.sha256()
        self.size = 0
        self.given_up = False

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.given_up:
            return len(data)
        self._pulse()
        self.hash.update(data)
        self.size += len(data)
        return self._out.write(data)


class LayerWriter:
    """Writes one layer to the file `path`; entries are to be added in the order of their names.

    What `pulse` raises between two pieces ends the writing.
    """

    def __init__(self, path: Path, pulse: Callable[[], None] = lambda: None) -> None:
        self._out = path.open("xb")
        self._path = path
        self._sink = _Hashing(self._out, pulse)
        self._tar = tarfile.open(fileobj=self._sink, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # half a layer is none; the tar writes its end when it is forgotten
            self._sink.given_up = True
            self._out.close()
            self._path.unlink()
            return
        self._tar.close()
        self._out.close()

    @property
    def digest(self) -> str:
        """`sha256:…`, once closed."""
        return f"sha256:{self._sink.hash.hexdigest()}"

    @property
    def size(self) -> int:
        return self._sink.size

    def folder(self, name: str) -> None:
        self._add(name, tarfile.DIRTYPE, 0o755)

    def file(self, name: str, content: IO[bytes], size: int, *, executable: bool) -> None:
        self._add(name, tarfile.REGTYPE, 0o755 if executable else 0o644, content, size)

    def text(self, name: str, content: bytes) -> None:
        self._add(name, tarfile.REGTYPE, 0o644, io.BytesIO(content), len(content))

    def link(self, name: str, target: str) -> None:
        self._add(name, tarfile.SYMTYPE, 0o777, target=target)

    def removal(self, name: str) -> None:
        """The entry `name` of a layer below is gone."""
        folder, base = posixpath.split(name)
        self._add(posixpath.join(folder, WHITEOUT + base), tarfile.REGTYPE, 0o644)

    def _add(
        self,
        name: str,
        kind: bytes,
        mode: int,
        content: IO[bytes] | None = None,
        size: int = 0,
        target: str = "",
    ) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.size, entry.linkname = kind, mode, size, target
        entry.mtime = _MOMENT
        self._tar.addfile(entry, content)
        self.count += 1


@dataclass
class Listing:
    """Folders and links of an image's state, read from its layers: enough to place a COPY."""

    folders: set[str] = field(default_factory=lambda: {""})
    links: dict[str, str] = field(default_factory=dict)

    def add(self, layer: Path) -> None:
        """Take over what a layer changes (see `unpacking.entries` for errors)."""
        for _, entry in entries(layer):
            folder, _, base = entry.name.rpartition("/")
            if base.startswith(WHITEOUT):
                self._drop(posixpath.join(folder, base.removeprefix(WHITEOUT)))
                continue
            self._enter(folder)
            if entry.isdir():
                self._enter(entry.name)
            else:
                self._drop(entry.name)
                if entry.issym():
                    self.links[entry.name] = entry.linkname

    def resolve(self, path: str) -> str:
        """The place that an absolute image path means, links followed, without the first slash."""
        done = ""
        rest = [part for part in path.split("/") if part not in ("", ".")]
        for _ in range(1_000):
            if not rest:
                return done
            part = rest.pop(0)
            if part == "..":
                done = posixpath.dirname(done)
                continue
            here = posixpath.join(done, part)
            target = self.links.get(here)
            if target is None:
                done = here
            else:
                rest = [*(piece for piece in target.split("/") if piece not in ("", ".")), *rest]
                done = "" if target.startswith("/") else done
        return done

    def missing_folders(self, folder: str) -> list[str]:
        """`folder` and its parents as far as they do not exist, outermost first."""
        parts = folder.split("/") if folder else []
        paths = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        return [path for path in paths if path not in self.folders]

    def _enter(self, folder: str) -> None:
        while folder not in self.folders:
            self.links.pop(folder, None)
            self.folders.add(folder)
            folder = posixpath.dirname(folder)

    def _drop(self, name: str) -> None:
        self.links.pop(name, None)
        if name in self.folders:
            below = name + "/"
            self.folders = {f for f in self.folders if f != name and not f.startswith(below)}
            self.links = {k: v for k, v in self.links.items() if not k.startswith(below)}


@dataclass(frozen=True, slots=True)
class _Seen:
    mode: int
    size: int
    inode: int
    modified_ns: int
    changed_ns: int


Snapshot = dict[str, _Seen]


def snapshot(root: Path) -> Snapshot:
    """Every entry below `root`, with what changes when it changes (the ctime cannot be forged)."""
    seen: Snapshot = {}
    pending = [""]
    while pending:
        place = pending.pop()
        with os.scandir(root / place) as found:
            for entry in found:
                status = entry.stat(follow_symlinks=False)
                name = posixpath.join(place, entry.name)
                folder = entry.is_dir(follow_symlinks=False)
                if folder and status.st_mode & 0o700 != 0o700:
                    (root / name).chmod(0o755)
                seen[name] = _Seen(
                    stat.S_IFDIR if folder else status.st_mode,
                    0 if folder else status.st_size,
                    status.st_ino,
                    0 if folder else status.st_mtime_ns,
                    0 if folder else status.st_ctime_ns,
                )
                if folder:
                    pending.append(name)
    return seen


def changes(before: Snapshot, after: Snapshot) -> tuple[list[str], list[str]]:
    """(new or changed names, removed names), sorted; below a removed folder nothing is named."""
    changed = sorted(name for name, seen in after.items() if before.get(name) != seen)
    removed = sorted(name for name in before.keys() - after.keys() if _is_folder(name, after))
    return changed, removed


def _is_folder(name: str, after: Snapshot) -> bool:
    """Whether the folder that `name` lay in is still one."""
    folder = posixpath.dirname(name)
    return not folder or (folder in after and stat.S_ISDIR(after[folder].mode))


def folder_entries(names: Iterable[str]) -> list[str]:
    """All parents of `names`, sorted."""
    parents: set[str] = set()
    for name in names:
        folder = posixpath.dirname(name)
        while folder and folder not in parents:
            parents.add(folder)
            folder = posixpath.dirname(folder)
    return sorted(parents)
