"""The build context: a function's archive unpacked, and which of its files a COPY or ADD takes."""

import fnmatch
import os
import posixpath
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from backend.assets import archives


class ContextError(ValueError):
    """The archive or a COPY cannot be taken; the text is for the build log."""


def unpack_context(archive: Path, target: Path, pulse: Callable[[], None] = lambda: None) -> None:
    """Unpack a function's archive (zip, or tar with any compression) into the empty folder `target`.

    What the upload accepts is what is unpacked: regular files with their executable bit, folders, hard links
    to earlier files as copies. What `pulse` raises between two pieces ends it.

    Raises:
        ContextError: neither zip nor tar, damaged, names that leave the folder, links, devices, or too large.
    """
    try:
        archives.unpack(archive, target, pulse=pulse)
    except archives.NotAnArchive as error:
        raise ContextError(f"the archive cannot be read: {error}") from None
    except archives.ArchiveRefused as error:
        raise ContextError(f"the archive is refused: {error}") from None
    except OSError as error:
        raise ContextError(f"the archive cannot be unpacked: {error}") from None


class Context:
    """Files of an unpacked archive, without those that `.dockerignore` leaves out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ignored = _ignore_rules(folder / ".dockerignore")

    def chosen(self, pattern: str) -> list[str]:
        """Paths (relative, normal) that one source of a COPY names; "" is the context itself.

        Raises:
            ContextError: nothing there has that name.
        """
        wanted = posixpath.normpath(posixpath.join("/", pattern)).lstrip("/")
        if not wanted or not any(character in wanted for character in "*?["):
            if not (self.folder / wanted).exists() or (
                wanted and self._ignores(wanted, below=True)
            ):
                raise ContextError(f"COPY failed: {pattern}: no such file or directory")
            return [wanted]
        found = [""]
        for part in wanted.split("/"):
            found = [match for place in found for match in self._matching(place, part)]
        found = [path for path in found if not self._ignores(path, below=True)]
        if not found:
            raise ContextError(f"COPY failed: {pattern}: no source files were specified")
        return found

    def _matching(self, place: str, part: str) -> Iterator[str]:
        folder = self.folder / place
        if not folder.is_dir():
            return
        for name in sorted(os.listdir(folder)):  # noqa: PTH208
            if name == part or re.fullmatch(_segment(part), name):
                yield posixpath.join(place, name)

    def files(self, source: str) -> Iterator[tuple[str, Path | None]]:
        """What lies below a chosen source: (path relative to it, file, or None for a folder)."""
        start = self.folder / source
        if not start.is_dir():
            yield "", start
            return
        for place, folders, names in os.walk(start):
            folders.sort()
            below = Path(place).relative_to(start).as_posix()
            below = "" if below == "." else below
            if below and not self._ignores(posixpath.join(source, below)):
                yield below, None
            for name in sorted(names):
                relative = posixpath.join(below, name)
                if not self._ignores(posixpath.join(source, relative)):
                    yield relative, Path(place, name)

    def _ignores(self, path: str, *, below: bool = False) -> bool:
        """The last rule that matches the path or one of its parents decides.

        `below` asks for a COPY's source, which stays when an exception could bring something below it back.
        """
        ignored = False
        parts = path.split("/")
        prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        for expression, excluded in self._ignored:
            if any(expression.fullmatch(prefix) for prefix in prefixes):
                ignored = excluded
        if ignored and below and (self.folder / path).is_dir():
            return all(excluded for _, excluded in self._ignored)
        return ignored


def _ignore_rules(path: Path) -> list[tuple[re.Pattern[str], bool]]:
    if not path.is_file() or path.stat().st_size > 1_000_000:
        return []
    rules: list[tuple[re.Pattern[str], bool]] = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        text = line.strip()
        if not text or line.startswith("#"):
            continue
        excluded = not text.startswith("!")
        pattern = posixpath.normpath("/" + text.removeprefix("!").strip()).lstrip("/")
        if pattern:
            rules.append((re.compile(_ignore_pattern(pattern)), excluded))
    return rules


def _ignore_pattern(pattern: str) -> str:
    """`**` stands for any number of folders; the rest matches within one name."""
    out: list[str] = []
    parts = re.sub(r"\*\*(/\*\*)+", "**", pattern).split("/")
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if part == "**":
            out.append(".*" if last else "(?:[^/]+/)*")
        else:
            out.append(_segment(part) + ("" if last else "/"))
    return "".join(out)


def _segment(pattern: str) -> str:
    """One name of a wildcard path as a regular expression; `*` and `?` never match a slash."""
    translated = fnmatch.translate(pattern.replace("[^", "[!"))
    inner = re.sub(r"^\(\?s:(.*)\)\\[Zz]$", r"\1", translated)
    return f"(?s:{inner.replace('.*', '[^/]*')})"


def is_archive(path: Path) -> bool:
    """Whether ADD unpacks this file: a tar, compressed or not, that holds something."""
    return path.is_file() and archives.is_tar(path)


def unpack_added(archive: Path, target: Path, pulse: Callable[[], None] = lambda: None) -> None:
    """Unpack what ADD takes apart. Raises ContextError as `unpack_context`."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    unpack_context(archive, target, pulse)
