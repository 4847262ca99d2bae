"""Which parts of a RUN line are plain pip calls that the builder carries out itself.

The shared uv cache must be out of reach of RUN lines: whoever writes into it writes into other functions'
environments. So a RUN's shell has an empty cache of its own, and pip calls that need no shell are done outside
of it: by uv with the shared cache, from wheels alone, so that no code of a package runs there.
"""

import re
import shlex
from dataclasses import dataclass

_STATEFUL = frozenset(
    (
        *("cd", "export", "source", ".", "set", "alias", "unset", "eval", "exec", "exit", "trap"),
        *("umask", "read", "if", "for", "while", "until", "case", "function", "!", "{", "time"),
        *("local", "return", "shift", "ulimit", "pushd", "popd"),
    )
)
_PIP = re.compile(r"pip(3(\.\d+)?)?")
_PYTHON = re.compile(r"python(3(\.\d+)?)?")


@dataclass(frozen=True, slots=True)
class PipCall:
    """`program` is what looks for the environment in PATH (`pip`, `python3`); `text` the same for a shell."""

    program: str
    arguments: tuple[str, ...]
    text: str


def pieces(command: str) -> list[str | PipCall]:
    """The RUN's text cut at its `&&` into pip calls and pieces for the shell; not cut where that matters.

    A line whose parts share a shell's state (`cd`, variables), or which uses more than `&&`, is one piece.
    """
    parts = _split(command)
    if parts is None:
        return [command]
    found: list[str | PipCall] = []
    for part in parts:
        call = _pip_call(part)
        first = part.split(maxsplit=1)[0] if part.split() else ""
        if call is None and (first in _STATEFUL or not first or re.match(r"\w+\+?=", first)):
            return [command]
        if call is None and found and isinstance(found[-1], str):
            found[-1] = f"{found[-1]} && {part}"
        else:
            found.append(call or part)
    return found


def _split(command: str) -> list[str] | None:
    """The parts between `&&`, or None when the line has other operators outside quotes."""
    parts, current, quote, position = [], "", "", 0
    while position < len(command):
        character = command[position]
        if character == "\\":
            current += command[position : position + 2]
            position += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif command.startswith("&&", position):
            parts.append(current.strip())
            current = ""
            position += 2
            continue
        elif character in ";|&()`\n":
            return None
        current += character
        position += 1
    return None if quote else [*parts, current.strip()]


def _pip_call(part: str) -> PipCall | None:
    """A call of pip whose words a shell would leave as they are."""
    bare = re.sub(r"'[^']*'", "q", part)
    bare = re.sub(r"\"[^\"$`\\]*\"", "q", bare)
    if re.search(r"[\\\"'$`<>*?{}]|(^|\s)[~#]", bare):
        return None
    try:
        words = shlex.split(part)
    except ValueError:
        return None
    if words and _PIP.fullmatch(words[0]):
        return PipCall(words[0], tuple(words[1:]), part)
    if words[1:3] == ["-m", "pip"] and _PYTHON.fullmatch(words[0]):
        return PipCall(words[0], tuple(words[3:]), part)
    return None
