"""Image paths on this machine: `/home/user` of an image is `<root>/home/user` here.

There is no container: a RUN's text, ENV values and exec-form words have their paths rewritten below the
function's root. Programs and files of the system stay what they are, unless the image has its own.
"""

import os
import posixpath
import re
from pathlib import Path

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc")
_KERNEL = ("/dev", "/proc", "/sys")
_ENDS = frozenset(" \t\n'\"`;|&<>()$:,=")
_SEPARATORS = frozenset(" \t\n`;|&<>(),:=[{")
_OPERATORS = frozenset(";|&\n(")
_PATTERN_PROGRAMS = frozenset(("sed", "awk", "gawk", "perl", "grep", "egrep", "tr"))


class ImagePaths:
    """Rewrites image paths for one root."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)

    def place(self, path: str) -> str:
        """The place of one absolute image path, always below the root."""
        normal = posixpath.normpath(posixpath.join("/", path)).lstrip("/")
        return f"{self._root}/{normal}" if normal else self._root

    def text(self, text: str) -> str:
        """A shell text or value with the absolute paths in it rewritten.

        A path begins a word, or follows one of `= : ,` and the like; what follows a variable or other text
        (`$HOME/x`, `https://…`, `s/a/b/`), and patterns of sed, awk, perl, grep in quotes, stay.
        """
        out: list[str] = []
        quote, fresh, position, command = "", True, 0, 0
        while position < len(text):
            character = text[position]
            if character == "\\":
                out.append(text[position : position + 2])
                position += 2
                fresh = False
                continue
            if fresh and text.startswith("//", position):
                out.append("//")
                position, fresh = position + 2, False
                continue
            if character == "/" and (fresh or text.endswith("file://", 0, position)):
                end = self._end(text, position)
                before = text[command : min(position, command + 64)].split()
                if text[position:end] == "/":
                    last = text[max(0, position - 64) : position].split()[-1:]
                    before = [*before, *last]
                out.append(self._mapped(text[position:end], before, bool(quote)))
                position, fresh = end, False
                continue
            if character in "'\"":
                if quote == character:
                    quote, fresh = "", False
                elif not quote:
                    quote = character
            else:
                fresh = character in _SEPARATORS
                if character in _OPERATORS and not quote:
                    command = position + 1
            out.append(character)
            position += 1
        return "".join(out)

    @staticmethod
    def _end(text: str, position: int) -> int:
        end = position
        while end < len(text) and text[end] not in _ENDS:
            end += 2 if text[end] == "\\" else 1
        return min(end, len(text))

    def _mapped(self, path: str, before: list[str], quoted: bool) -> str:
        """`before`: the first words of the command that the path stands in, for `/` the last one too."""
        if quoted and not _PATTERN_PROGRAMS.isdisjoint(before):
            return path
        if path == "/":
            last = before[-1] if before else ""
            division = quoted or last.endswith(")") or last.lstrip("$(").isdigit()
            return path if division else f"{self._root}/"
        return path if self._of_system(path) else self._root + path

    def _of_system(self, path: str) -> bool:
        """Whether a path means this machine's own: it exists here, and not in the image."""
        if path.startswith(tuple(f"{folder}/" for folder in _KERNEL)) or path in _KERNEL:
            return True
        if not any(path == folder or path.startswith(folder + "/") for folder in _SYSTEM):
            return False
        literal = re.split(r"[*?\[]", path)[0]
        literal = literal if literal == path else posixpath.dirname(literal)
        return os.path.lexists(literal) and not os.path.lexists(self._root + literal)
