"""Images of one organization on disk: manifests, layers, and environments unpacked from them, ready to run.

    <MEDIA_ROOT>/images/manifests/<sha256>.json   exact bytes
    <MEDIA_ROOT>/images/layers/<sha256>.tar
    <MEDIA_ROOT>/images/unpacked/<key>/           an environment's tree or an upper layer's files, read-only

Everything is content-addressed and appears by rename, so a crash leaves only scratch behind.
"""

import fcntl
import hashlib
import os
import posixpath
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backend.engine.images.interpreters import Interpreter, Interpreters
from backend.engine.images.manifest import BadImage, Layer, Manifest, parse
from backend.engine.images.unpacking import Unpacker, remove_tree
from backend.engine.images.venv_stand_in import furnish
from backend.kit.crash_points import crash_points
from backend.ports.storage.spooling import sync

__all__ = ["PYTHON", "BadImage", "ImageStore", "UnknownImage"]
WAIT_S = 0.05
"""Between looks whether somebody else's lock is free."""
PYTHON = re.compile(r"python[0-9.]*")
"""Names of programs that mean the image's Python."""


class UnknownImage(LookupError):
    """No such manifest or layer is stored here."""


class ImageStore:
    """Safe for several threads and processes. Digests of manifests are bare hex, of layers `sha256:…`."""

    def __init__(self, media_root: Path, interpreters: Interpreters | None = None) -> None:
        self._root = media_root / "images"
        self._interpreters = interpreters or Interpreters(self._root / "python", {})
        for name in ("manifests", "layers", "unpacked", "scratch"):
            (self._root / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def manifest(self, digest: str) -> Manifest:
        """Raises UnknownImage when it is not stored."""
        return parse(self.manifest_path(digest).read_bytes())

    def manifest_path(self, digest: str) -> Path:
        """The file with the manifest's exact bytes. Raises UnknownImage."""
        return self._existing("manifests", digest, ".json")

    def layer_path(self, digest: str) -> Path:
        """The file with the layer's exact bytes. Raises UnknownImage."""
        return self._existing("layers", digest.removeprefix("sha256:"), ".tar")

    def has_layer(self, digest: str) -> bool:
        return (self._root / "layers" / f"{digest.removeprefix('sha256:')}.tar").exists()

    def use_layer(self, digest: str) -> bool:
        """True when the layer is there; it counts as used now (`compute.bounds`)."""
        try:
            os.utime(self._root / "layers" / f"{digest.removeprefix('sha256:')}.tar")
        except FileNotFoundError:
            return False
        return True

    def missing_layers(self, manifest: Manifest) -> list[str]:
        """Digests of the layers that have to come first, each once, in order."""
        digests = dict.fromkeys(layer.digest for layer in manifest.layers)
        return [digest for digest in digests if not self.use_layer(digest)]

    def add_manifest(self, content: bytes, digest: str) -> Manifest:
        """Store a manifest that came from anywhere.

        Raises:
            BadImage: other bytes than `digest` says, or no manifest.
        """
        manifest = parse(content)
        if manifest.digest != digest:
            raise BadImage("the manifest has another digest than announced")
        scratch = self.scratch_path()
        scratch.write_bytes(content)
        self._publish(scratch, self._root / "manifests" / f"{digest}.json")
        return manifest

    def add_layer(self, path: Path, digest: str, *, checked: bool = False) -> None:
        """Take the file `path` over as a layer (renamed where the file system lets it).

        `checked`: whoever wrote it has compared its digest already.

        Raises:
            BadImage: other bytes than `digest` says.
        """
        scratch = self.scratch_path()
        shutil.move(path, scratch)
        if not checked:
            with scratch.open("rb") as source:
                actual = hashlib.file_digest(source, "sha256").hexdigest()
            if f"sha256:{actual}" != digest:
                scratch.unlink()
                raise BadImage("a layer has another digest than announced")
        self.adopt_layer(scratch, digest)

    def adopt_layer(self, scratch: Path, digest: str) -> None:
        """Store a file whose digest is known to be right, below `scratch_path()`."""
        self._publish(scratch, self._root / "layers" / f"{digest.removeprefix('sha256:')}.tar")

    def scratch_path(self) -> Path:
        """A fresh name on the store's own file system."""
        return self._root / "scratch" / f"{os.getpid()}-{uuid.uuid4().hex}"

    def materialize(
        self,
        manifest: Manifest,
        pulse: Callable[[], None] = lambda: None,
        used: Callable[[Path], None] = lambda path: None,
    ) -> dict[str, Any]:
        """Unpack what is not unpacked yet and return the Environment that a lease carries.

        `key` names the environment layers and the local interpreter, so that images which differ only above
        share it. Needs every layer. What `pulse` raises between two pieces ends the unpacking; `used` is told
        each folder as soon as it is there, so that it is not cleared away while the next one is unpacked.

        Raises:
            BadImage: a layer is damaged or unsafe.
            NoInterpreter: this machine lacks the image's Python.
            UnknownImage: a layer is missing.
        """
        interpreter = self._interpreters.find(manifest.python)
        key = environment_key(manifest.environment_layers, interpreter)
        root = self._unpacked(key, manifest.environment_layers, interpreter, pulse)
        used(root)
        uppers = []
        for layer in dict.fromkeys(manifest.upper_layers):
            uppers.append(self._unpacked(layer.hex, (layer,), None, pulse))
            used(uppers[-1])
        return {
            "key": key,
            "root": str(root),
            "layers": [str(path) for path in uppers],
            "python": find_python(root, manifest, interpreter),
            "base_prefix": interpreter.prefix,
            "workdir": manifest.workdir,
            "env": manifest.env,
            "entrypoint": list(manifest.entrypoint),
        }

    def _unpacked(
        self,
        name: str,
        layers: tuple[Layer, ...],
        interpreter: Interpreter | None,
        pulse: Callable[[], None],
    ) -> Path:
        """The folder with `layers` on top of each other; an interpreter makes it an environment."""
        target = self._root / "unpacked" / name
        if target.exists():
            return target
        with self.locked(f"unpack-{name}", pulse):
            if target.exists():
                return target
            scratch = self.scratch_path()
            scratch.mkdir(mode=0o755)
            try:
                plain = interpreter is None
                unpacker = Unpacker(scratch, read_only=True, plain=plain, pulse=pulse)
                for layer in layers:
                    unpacker.lay(self.layer_path(layer.digest))
                unpacker.check_links()
                if interpreter:
                    for folder in unpacker.environments:
                        furnish(
                            scratch / folder,
                            version=interpreter.version,
                            executable=interpreter.executable,
                        )
                        (scratch / folder / "pyvenv.cfg").chmod(0o444)
                unpacker.seal()
                crash_points.reach("images", "unpacked", "before")
                scratch.rename(target)
                crash_points.reach("images", "unpacked", "after")
            except BaseException:
                remove_tree(scratch)
                raise
        return target

    @contextmanager
    def locked(self, name: str, pulse: Callable[[], None] = lambda: None) -> Iterator[None]:
        """One holder on this machine; the lock ends with the process that holds it.

        What `pulse` raises ends the waiting.
        """
        with (self._root / "scratch" / f"{name}.lock").open("wb") as handle:
            while not _taken(handle.fileno()):
                pulse()
                time.sleep(WAIT_S)
            yield

    def _existing(self, folder: str, name: str, suffix: str) -> Path:
        path = self._root / folder / f"{name}{suffix}"
        if "/" in name or not path.is_file():
            raise UnknownImage(f"{folder}/{name[:80]}")
        return path

    @staticmethod
    def _publish(scratch: Path, target: Path) -> None:
        """Durable before visible, and the name too: what was built is told to the ledger next."""
        sync(scratch)
        crash_points.reach("images", target.parent.name, "before")
        scratch.rename(target)
        sync(target.parent)
        crash_points.reach("images", target.parent.name, "after")


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def environment_key(layers: tuple[Layer, ...], interpreter: Interpreter) -> str:
    text = "\n".join(
        [interpreter.version, interpreter.executable, *(layer.digest for layer in layers)]
    )
    return hashlib.sha256(text.encode()).hexdigest()


def find_python(root: Path, manifest: Manifest, interpreter: Interpreter) -> str:
    """The absolute path of the interpreter that the entry point's first word means.

    Looked for in the image's PATH, below `root`; a plain name that only this machine has means the
    base interpreter, and so does a word that is no Python (the runner executes that one as it is).

    Raises:
        BadImage: the word is a Python of another version than the image's.
    """
    word = manifest.entrypoint[0]
    name = posixpath.basename(word)
    if not PYTHON.fullmatch(name):
        return interpreter.executable
    if name not in ("python", "python3", f"python{interpreter.version}"):
        raise BadImage(f"the entry point {word!r} is no Python {interpreter.version}")
    folders = [posixpath.dirname(word)] if "/" in word else manifest.env.get("PATH", "").split(":")
    for folder in folders:
        relative = posixpath.normpath(posixpath.join("/", folder)).lstrip("/")
        candidate = root / relative / name
        if candidate.is_file():
            return str(candidate)
    return interpreter.executable
