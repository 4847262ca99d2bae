"""From an image's entry point to what is run: words stay apart, `-u` is inserted (compute.md 3.8)."""

import re
from dataclasses import dataclass
from pathlib import Path

from ray_jobs.lease import Environment
from ray_jobs.root import located

_PYTHON = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?")
# read when an interpreter starts: a zygote started long ago has not seen them
_AT_START = (
    "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONHOME", "PYTHONUTF8",
    "PYTHONFAULTHANDLER", "PYTHONMALLOC", "PYTHONDEVMODE", "PYTHONIOENCODING", "PYTHONINSPECT",
    "PYTHONSAFEPATH", "PYTHONCASEOK", "PYTHONVERBOSE", "PYTHONPROFILEIMPORTTIME",
    "PYTHONTRACEMALLOC", "PYTHONNOUSERSITE", "PYTHONPLATLIBDIR", "PYTHONUSERBASE",
)  # fmt: skip


class NoEntryPoint(Exception):
    """The image says nothing about what to run."""


@dataclass(frozen=True, slots=True)
class Command:
    """`words` run a program; `script` is the part of them that a zygote can run: a script, its arguments."""

    words: tuple[str, ...]
    script: tuple[str, ...] | None


def can_be_forked(environment: Environment) -> bool:
    """Whether a zygote can run this image's entry point."""
    return command(environment, Path("/"), Path("/arguments.txt")).script is not None


def command(environment: Environment, root: Path, arguments: Path) -> Command:
    """The command line below the task's `root`, the arguments file last. Raises NoEntryPoint."""
    if not environment.entrypoint:
        raise NoEntryPoint
    first, *rest = environment.entrypoint
    words = [located(word, environment, root) if word.startswith("/") else word for word in rest]
    words.append(f"@{arguments}")
    if not first.startswith("python") and not _PYTHON.fullmatch(first):
        program = located(first, environment, root) if first.startswith("/") else first
        return Command((program, *words), None)
    if not _PYTHON.fullmatch(first):
        return Command((first, "-u", *words), None)
    script = words[1:] if words[0] == "-u" else words
    warm = not script[0].startswith(("-", "@")) and not any(v in environment.env for v in _AT_START)
    return Command((str(environment.python), "-u", *words), tuple(script) if warm else None)
