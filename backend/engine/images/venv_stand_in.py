"""`python -m venv` for builds: a relocatable environment, made in milliseconds.

Only the standard library: a copy of this file also runs inside a build, as the program behind
`python -m venv`. What names this machine (the interpreter's link, `home` in pyvenv.cfg) is left out of layers
and made anew by `furnish` wherever an environment arrives (rule 31).
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

_PIP_PROGRAM = """\
#!/bin/sh
here="$(dirname -- "$(realpath -- "$0")")"
exec "${SUBSTRA_TOOLS:?pip works while an image is built}/pip" --in "${here%/*}" "$@"
"""
_PIP_PACKAGE = """\
\"\"\"`python -m pip` while an image is built; replaced when pip itself gets installed.\"\"\"

import os
import sys

tools = os.environ.get("SUBSTRA_TOOLS")
if not tools:
    sys.exit("pip works while an image is built")
os.execv(tools + "/pip", ["pip", "--in", sys.prefix, *sys.argv[1:]])
"""
_ACTIVATE = """\
deactivate () {{ PATH="$_OLD_PATH"; export PATH; unset VIRTUAL_ENV; }}
_OLD_PATH="$PATH"
VIRTUAL_ENV="${{SUBSTRA_ROOT}}{place}"
PATH="$VIRTUAL_ENV/bin:$PATH"
export VIRTUAL_ENV PATH
"""


def create(folder: Path, *, version: str, executable: str, place: str = "") -> None:
    """Make the environment `folder` of the interpreter `executable` (its real path), version "3.11".

    `place` is the path that the folder has in the image, for `bin/activate`.
    """
    packages = folder / "lib" / f"python{version}" / "site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    (folder / "bin").mkdir(exist_ok=True)
    if not (folder / "lib64").is_symlink():
        (folder / "lib64").symlink_to("lib")
    for name in ("pip", "pip3", f"pip{version}"):
        _program(folder / "bin" / name, _PIP_PROGRAM)
    (packages / "pip").mkdir(exist_ok=True)
    (packages / "pip" / "__init__.py").write_text('__version__ = "0"\n')
    (packages / "pip" / "__main__.py").write_text(_PIP_PACKAGE)
    if place:
        (folder / "bin" / "activate").write_text(_ACTIVATE.format(place=place))
    furnish(folder, version=version, executable=executable)


def furnish(folder: Path, *, version: str, executable: str) -> None:
    """Give an environment what depends on this machine: links to the interpreter and pyvenv.cfg."""
    programs = folder / "bin"
    if programs.is_symlink():
        return
    programs.mkdir(exist_ok=True)
    for name, target in (
        ("python", executable),
        ("python3", "python"),
        (f"python{version}", "python"),
    ):
        link = programs / name
        if link.is_symlink() or not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    configuration = folder / "pyvenv.cfg"
    configuration.unlink(missing_ok=True)
    configuration.write_text(neutral_configuration(version, os.path.dirname(executable)))  # noqa: PTH120


def neutral_configuration(version: str, home: str = "") -> str:
    """pyvenv.cfg; without `home` it is the form that layers carry."""
    first = f"home = {home}\n" if home else ""
    return f"{first}include-system-site-packages = false\nversion = {version}\nrelocatable = true\n"


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def main(arguments: list[str]) -> int:
    """The command line of `python -m venv`."""
    parser = argparse.ArgumentParser(prog="venv")
    parser.add_argument("folders", nargs="+", metavar="ENV_DIR")
    for flag in ("copies", "symlinks", "upgrade", "without-pip", "upgrade-deps", "clear"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--system-site-packages", action="store_true")
    parser.add_argument("--prompt")
    options = parser.parse_args(arguments)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    root = os.environ.get("SUBSTRA_ROOT", "")
    for name in options.folders:
        folder = Path(name).absolute()
        if options.clear and folder.is_dir():
            shutil.rmtree(folder)
        place = str(folder).removeprefix(root) if root else str(folder)
        executable = os.path.realpath(sys.executable)
        create(folder, version=version, executable=executable, place=place)
        if options.system_site_packages:
            _see_base(folder, Path(root), version)
    return 0


def _see_base(folder: Path, root: Path, version: str) -> None:
    """The base image's packages come after the environment's own, by a relative path."""
    below = f"lib/python{version}/site-packages"
    packages = folder / below
    base = os.path.relpath(root / "usr/local" / below, packages)
    (packages / "base_packages.pth").write_text(base + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
