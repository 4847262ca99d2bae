"""The file tree of a build: layers unpacked when a RUN needs them, and the layer that a RUN leaves."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from backend.engine.images.build_log import BuildLog
from backend.engine.images.interpreters import Interpreter
from backend.engine.images.layers import (
    LayerWriter,
    Snapshot,
    changes,
    folder_entries,
    snapshot,
)
from backend.engine.images.manifest import Layer
from backend.engine.images.neutral import Neutral, neutral_link, repair_editable, repair_script
from backend.engine.images.store import ImageStore
from backend.engine.images.unpacking import Unpacker
from backend.engine.images.venv_stand_in import furnish, neutral_configuration


class BuildTree:
    """`root` is the image's `/` while it is built; nobody but this build's processes writes there."""

    def __init__(
        self,
        work: Path,
        store: ImageStore,
        interpreter: Interpreter,
        log: BuildLog,
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        """What `pulse` raises between two pieces ends the unpacking or writing of a layer."""
        self._pulse = pulse
        self.root = work / "root"
        self.root.mkdir()
        self._store = store
        self._interpreter = interpreter
        self._log = log
        self._neutral = Neutral(self.root, [(self.root, ""), (work / "tmp", "/tmp"), (work, "")])  # noqa: S108
        self._pending: list[Layer] = []

    def push(self, layer: Layer) -> None:
        """The state grows by a stored layer; it is unpacked when `prepare` is called."""
        self._pending.append(layer)

    def prepare(self) -> None:
        """Unpack what the state has and the tree has not."""
        if not self._pending:
            return
        unpacker = Unpacker(self.root, read_only=False, pulse=self._pulse)
        for layer in self._pending:
            unpacker.lay(self._store.layer_path(layer.digest))
        unpacker.check_links()
        for folder in unpacker.environments:
            self.furnish(self.root / folder)
        self._pending = []

    def furnish(self, folder: Path) -> None:
        furnish(folder, version=self._interpreter.version, executable=self._interpreter.executable)

    def snapshot(self) -> Snapshot:
        return snapshot(self.root)

    def links_stay_inside(self) -> bool:
        """Whether no link in the tree leads out of it, the environments' interpreters excepted."""
        inside = os.path.realpath(self.root)
        interpreter = os.path.realpath(self._interpreter.executable)
        for name, seen in self.snapshot().items():
            if stat.S_ISLNK(seen.mode):
                place = os.path.realpath(self.root / name)
                if place != interpreter and not f"{place}/".startswith(f"{inside}/"):
                    return False
        return True

    def settle(self, before: Snapshot) -> list[str]:
        """Bring what changed into the form that layers have; returns the Python sources to compile.

        Scripts become relocatable; bytecode that programs left is dropped, since it names this place.
        """
        changed, _ = changes(before, self.snapshot())
        sources: list[str] = []
        for name in changed:
            self._pulse()
            path = self.root / name
            if path.is_symlink() or not path.is_file():
                continue
            if _is_leftover(path):
                path.unlink()
            elif name.endswith(".py"):
                repair_editable(path, str(self.root))
                if name.isprintable():  # compileall reads a list of lines in UTF-8
                    sources.append(str(path))
            else:
                repair_script(path, str(self.root), self._interpreter.executable)
        return sources

    def repair_programs(self, folder: Path) -> None:
        """Make the scripts of an environment's `bin` run by its own interpreter."""
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_file() and not path.is_symlink():
                repair_script(path, str(self.root), self._interpreter.executable)

    def write_layer(self, before: Snapshot, target: Path) -> tuple[str, int] | None:
        """Write what changed since `before` as a layer; (digest, size), or None when nothing did."""
        after = self.snapshot()
        changed, removed = changes(before, after)
        if not changed and not removed:
            return None
        names = dict.fromkeys(changed, "add")
        names |= dict.fromkeys(removed, "remove")
        with LayerWriter(target, self._pulse) as writer:
            for name in sorted({*names, *folder_entries(names)}):
                if names.get(name) == "remove":
                    writer.removal(name)
                else:
                    self._write(name, after, writer)
        if writer.count == 0:
            target.unlink()
            return None
        return writer.digest, writer.size

    def _write(self, name: str, after: Snapshot, writer: LayerWriter) -> None:
        if name not in after:
            return
        mode = after[name].mode
        path = self.root / name
        if stat.S_ISDIR(mode):
            writer.folder(name)
        elif stat.S_ISLNK(mode):
            self._write_link(name, path, writer)
        elif stat.S_ISREG(mode):
            self._write_file(name, path, writer)
        else:
            self._log.line(f"left out, no regular file: /{name}")

    def _write_link(self, name: str, path: Path, writer: LayerWriter) -> None:
        target = neutral_link(name, os.readlink(path), self.root)  # noqa: PTH115
        if target is not None:
            writer.link(name, target)
            return
        interpreter = os.path.realpath(self._interpreter.executable)
        if (path.parent.parent / "pyvenv.cfg").is_file() and os.path.realpath(path) == interpreter:
            return  # made anew wherever the image arrives
        path.unlink()
        self._log.line(f"left out, a link out of the image: /{name}")

    def _write_file(self, name: str, path: Path, writer: LayerWriter) -> None:
        if not path.lstat().st_mode & 0o400:
            path.chmod(0o644)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            executable = bool(status.st_mode & 0o100)
            if path.name == "pyvenv.cfg":
                text = neutral_configuration(self._interpreter.version).encode()
                writer.text(name, text)
                return
            content, size = self._neutral.content(path, opened, status.st_size)
            writer.file(name, content, size, executable=executable)


def _is_leftover(path: Path) -> bool:
    """Bytecode that a program of the RUN compiled, and uv's lock in an environment."""
    if path.name == ".lock":
        return path.with_name("pyvenv.cfg").exists()
    return path.suffix == ".pyc" and path.parent.name == "__pycache__"
