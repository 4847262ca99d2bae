"""Making what a RUN wrote independent of the place where it was built (rule 31)."""

import io
import mmap
import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO

_TEXT_BYTES = 16 << 20
_SCRIPT = """\
#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")"/{python} "$0" "$@"
' '''
"""
_PYTHON = re.compile(rb"#!\s*(\S*/python3?(?:\.\d+)?)\s*\n")


def repair_script(path: Path, root: str, base: str) -> None:
    """A console script that names its interpreter by an absolute path finds it by its own place instead.

    `base` is the base interpreter, which means the environment that the script lies in.
    """
    status = path.lstat()
    if not status.st_mode & 0o100 or status.st_size > _TEXT_BYTES:
        return
    with path.open("rb") as script:
        if script.read(2) != b"#!":
            return
        script.seek(0)
        first = script.readline(4096)
        found = _PYTHON.fullmatch(first)
        rest = script.read() if found else b""
    if found is None:
        return
    interpreter = os.fsdecode(found[1])
    if interpreter.startswith(root + "/"):
        relative = os.path.relpath(interpreter, path.parent)
    elif interpreter == base and (path.parent / "python").is_symlink():
        relative = "python"
    else:
        return
    path.unlink()
    path.write_bytes(_SCRIPT.format(python=f"'{relative}'").encode() + rest)
    path.chmod(0o755)


def repair_editable(path: Path, root: str) -> None:
    """The import hook of an editable install finds its folders relative to itself."""
    if not (path.name.startswith("__editable__") and path.name.endswith("_finder.py")):
        return
    text = path.read_text("utf-8", "surrogateescape")
    up = os.path.relpath(root, path)
    place = f"__import__('os').path.realpath(__file__ + '/{up}') + '/"
    path.write_text(text.replace(f"'{root}/", place), "utf-8", "surrogateescape")


class Neutral:
    """Contents of files as layers carry them; `hidden` maps local folders to image paths ("" for the root)."""

    def __init__(self, root: Path, hidden: Iterable[tuple[Path, str]]) -> None:
        self._root = str(root)
        self._hidden = [(os.fsencode(path), shown.encode()) for path, shown in hidden]

    def content(self, path: Path, opened: IO[bytes], size: int) -> tuple[IO[bytes], int]:
        """(what to store, its size). A binary keeps its size: a path is filled up with slashes.

        A file that names no local folder is passed on as it is, whatever its size.
        """
        if size == 0:
            return opened, size
        with mmap.mmap(opened.fileno(), size, access=mmap.ACCESS_READ) as view:
            if all(view.find(needle) < 0 for needle, _ in self._hidden):
                return opened, size
            text = size <= _TEXT_BYTES and view.find(b"\0", 0, 1 << 16) < 0
        if text:
            data = self._text(path, opened.read())
            return io.BytesIO(data), len(data)
        return self._binary(opened, size), size

    def _text(self, path: Path, data: bytes) -> bytes:
        if path.suffix == ".pth":
            lines = data.decode("utf-8", "surrogateescape").split("\n")
            relative = [self._relative(path, line) for line in lines]
            data = "\n".join(relative).encode("utf-8", "surrogateescape")
        for needle, shown in self._hidden:
            data = data.replace(needle, shown)
        return data

    def _relative(self, path: Path, line: str) -> str:
        """A folder named in a `.pth` file is found relative to that file wherever the image goes."""
        if line.startswith(self._root + "/"):
            return os.path.relpath(line.rstrip(), path.parent)
        return line

    def _binary(self, opened: IO[bytes], size: int) -> IO[bytes]:
        view = mmap.mmap(opened.fileno(), size, access=mmap.ACCESS_COPY)
        for needle, shown in self._hidden:
            filled = b"/" * (len(needle) - len(shown)) + shown
            at = view.find(needle)
            while at >= 0:
                view[at : at + len(needle)] = filled
                at = view.find(needle, at + len(needle))
        return view  # type: ignore[return-value]  # an mmap reads like a file


def neutral_link(name: str, target: str, root: Path) -> str | None:
    """The target that the link `name` (relative to the root) has in a layer; None when it leads out."""
    if target.startswith(f"{root}/") or target == str(root):
        place = root / name
        target = os.path.relpath(target, place.parent)
    if target.startswith("/") or not target:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if path == ".." or path.startswith("../"):
        return None
    real = os.path.realpath(root / name)
    inside = os.path.realpath(root)
    return target if real == inside or real.startswith(inside + "/") else None
