"""`pip` for builds, served by uv wherever uv knows the flags, else by the real pip.

Only the standard library: a copy of this file also runs inside a build, behind `pip` and `python -m pip`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

_SUBSTRATOOLS = re.compile(
    r"^(substratools\s*(\[.*\])?\s*@\s*)?git\+[a-z]+://[^\s]*/substra-?tools(\.git)?/?([@#].*)?$",
    re.IGNORECASE,
)
_KEPT = {
    "-U": ["--upgrade"],
    "--upgrade": ["--upgrade"],
    "--no-deps": ["--no-deps"],
    "--pre": ["--prerelease", "allow"],
    "--force-reinstall": ["--reinstall"],
    "--no-index": ["--no-index"],
    "--require-hashes": ["--require-hashes"],
    "--no-build-isolation": ["--no-build-isolation"],
    "-q": ["--quiet"],
    "--quiet": ["--quiet"],
    "-v": [],
    "--verbose": [],
}
_DROPPED = frozenset(
    (
        "--no-cache-dir",
        "--user",
        "--disable-pip-version-check",
        "--no-warn-script-location",
        "--no-input",
        "--no-color",
        "--break-system-packages",
        "--no-warn-conflicts",
        "--compile",
        "--no-compile",
        "--prefer-binary",
        "--use-pep",
        "--no-python-version-warning",
        "-y",
        "--yes",
    )
)
_KEPT_VALUE = {
    "-r": "-r",
    "--requirement": "-r",
    "-c": "-c",
    "--constraint": "-c",
    "-e": "-e",
    "--editable": "-e",
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--trusted-host": "--allow-insecure-host",
    "--no-binary": "--no-binary",
    "--only-binary": "--only-binary",
}
_DROPPED_VALUE = frozenset(
    (
        "--progress-bar",
        "--root-user-action",
        "--timeout",
        "--default-timeout",
        "--retries",
        "--exists-action",
        "--cache-dir",
        "--upgrade-strategy",
        "--log",
    )
)
_READING = {"list": ("--format",), "freeze": (), "show": (), "check": ()}


def translate(arguments: list[str]) -> list[str] | None:
    """Arguments of `uv pip` for those of `pip`; None where only the real pip will do.

    An empty list means that nothing is left to do (`pip install --upgrade pip`: pip is served here).
    """
    rest = list(arguments)
    while rest and rest[0] in _DROPPED:
        rest.pop(0)
    if not rest:
        return None
    command = rest.pop(0)
    if command in _READING:
        simple = all(
            not word.startswith("-") or word.partition("=")[0] in _READING[command] for word in rest
        )
        return [command, *rest] if simple else None
    if command not in ("install", "uninstall"):
        return None
    words = _options(rest)
    if words is None:
        return None
    options, requirements = words
    asked = [_by_name(requirement) for requirement in requirements]
    kept = [requirement for requirement in asked if requirement != "pip"]
    if not kept and not any(option in ("-r", "-e") for option in options):
        return [] if asked else None
    if command == "install":
        options += [
            "--index-strategy",
            "unsafe-best-match",
        ]  # as pip: the best version of all indexes
    return [command, *options, *kept]


def _options(words: list[str]) -> tuple[list[str], list[str]] | None:
    """(options for uv, requirements), or None when a flag is unknown."""
    options: list[str] = []
    requirements: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("-"):
            requirements.append(word)
            continue
        name, given, value = word.partition("=")
        if re.fullmatch(r"-[Uqv]{2,}", word):
            for letter in word[1:]:
                options += _KEPT[f"-{letter}"]
        elif re.match(r"-[rcefi].", word) and not word.startswith("--"):
            options += [_KEPT_VALUE[word[:2]], word[2:].removeprefix("=")]
        elif word in _KEPT:
            options += _KEPT[word]
        elif word in _DROPPED:
            continue
        elif name in _KEPT_VALUE or name in _DROPPED_VALUE:
            if not given:
                if position == len(words):
                    return None
                value = words[position]
                position += 1
            if name in _KEPT_VALUE:
                options += [_KEPT_VALUE[name], value]
        else:
            return None
    return options, requirements


def _by_name(requirement: str) -> str:
    """substratools from its Git repository is taken from the package index by name (compute.md 13.3)."""
    return "substratools" if _SUBSTRATOOLS.match(requirement.strip()) else requirement


def _environment(path: str, tools: str) -> str | None:
    """The environment whose `bin` comes first in PATH."""
    for folder in path.split(os.pathsep):
        if folder and folder != tools and Path(folder, "../pyvenv.cfg").exists():
            return os.path.dirname(os.path.abspath(folder))  # noqa: PTH100, PTH120
    return None


def _real_pip(uv: str, python: str, arguments: list[str]) -> NoReturn:
    """Run pip itself: the environment's own, else one fetched for this build."""
    site = Path(python).parent.parent
    if not any(site.glob("lib/python*/site-packages/pip-*.dist-info")):
        target = os.environ["TMPDIR"] + "/real-pip"
        if not Path(target).is_dir():
            fetch = [uv, "pip", "install", "-q", "--python", python, "--target", target, "pip"]
            if subprocess.run(fetch, check=False).returncode:
                sys.exit(1)
        os.environ["PYTHONPATH"] = target
    os.environ.pop("SUBSTRA_TOOLS", None)
    os.execv(python, [python, "-m", "pip", *arguments])  # noqa: S606


def main(uv: str, arguments: list[str]) -> int:  # noqa: RET503 (execv never returns)
    """The command line of pip; `--in FOLDER` first names the environment, else PATH does."""
    tools = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    if arguments[:1] == ["--in"]:
        prefix: str | None = arguments[1]
        arguments = arguments[2:]
    else:
        prefix = _environment(os.environ.get("PATH", ""), tools)
    if prefix is None:
        sys.stderr.write("pip: no environment in PATH\n")
        return 1
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"pip 0 from {prefix} (served by uv)\n")
        return 0
    python = f"{prefix}/bin/python"
    words = translate(arguments)
    if words == []:
        sys.stdout.write("pip is served by uv: nothing to upgrade\n")
        return 0
    if words is None:
        _real_pip(uv, python, arguments)
    os.execv(uv, [uv, "pip", words[0], "--python", python, *words[1:]])  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
