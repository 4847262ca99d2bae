"""Make the agent's folder: our interpreter, its loader and libraries, and the agent, movable to any image.

`python -m ray_jobs.agent.bundle FOLDER`, when the runner's image is built; an init container copies the folder
into each pod. `command` starts it there: through the bundled loader, so that an image needs neither Python nor
a C library, and none of its libraries gets into the agent.
"""

import compileall
import json
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

_OURS = ("__init__.py", "agent/__init__.py", "agent/places.py", "agent/server.py", "agent/warm.py")
_CODECS = ("ascii", "latin_1", "utf_8", "idna", "utf_8_sig")
_LATER = ("traceback", "linecache", "tokenize", "warnings", "contextlib", "locale")
_LIST_MODULES = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import ray_jobs.agent.server
for name in sys.argv[2:]:
    __import__(name)
print(json.dumps({
    "version": "python%d.%d" % sys.version_info[:2],
    "library": os.path.dirname(os.__file__),
    "files": [m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)],
}))
"""


def command(folder: str, configuration: dict[str, Any]) -> list[str]:
    """The container's command, for a bundle at `folder`."""
    return [
        f"{folder}/lib64/ld.so",
        "--inhibit-cache",
        "--library-path",
        f"{folder}/lib64",
        f"{folder}/bin/python3",
        "-I",
        "-S",
        "-B",
        f"{folder}/ours/ray_jobs/agent/server.py",
        json.dumps(configuration, sort_keys=True),
    ]


def build(folder: Path, python: str | None = None) -> None:
    """Fill `folder`, which must not exist yet, from the interpreter `python` (default: that of this process).

    Raises:
        OSError, subprocess.CalledProcessError: the interpreter is not one that can be moved so.
    """
    binary = Path(python or _base_interpreter()).resolve()
    house = Path(__file__).resolve().parents[1]
    known = _modules(binary, house.parent)
    library = Path(known["library"])
    inside = folder / "lib" / known["version"]
    inside.mkdir(parents=True)
    (inside / "lib-dynload").mkdir()
    shared = []
    for name in known["files"]:
        source = Path(name)
        if library not in source.parents:
            continue  # ours: copied below
        target = inside / source.relative_to(library)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if source.suffix == ".so":
            shared.append(source)
    _copy_ours(house, folder / "ours" / house.name)
    (folder / "bin").mkdir()
    shutil.copyfile(binary, folder / "bin/python3")
    (folder / "bin/python3").chmod(0o755)
    _copy_libraries(binary, shared, folder / "lib64")
    compileall.compile_dir(
        folder,
        quiet=2,
        stripdir=str(folder),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _base_interpreter() -> str:
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _modules(binary: Path, parent: Path) -> dict[str, Any]:
    """What the agent imports, by importing it."""
    names = [f"encodings.{codec}" for codec in _CODECS] + list(_LATER)
    done = subprocess.run(
        [str(binary), "-I", "-S", "-B", "-c", _LIST_MODULES, str(parent), *names],
        check=True,
        capture_output=True,
        text=True,
        env={},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _copy_ours(house: Path, target: Path) -> None:
    inner = [f"inner/{path.name}" for path in sorted((house / "inner").glob("*.py"))]
    for name in (*_OURS, *inner):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(house / name, place)


def _copy_libraries(binary: Path, shared: list[Path], target: Path) -> None:
    """The loader as `ld.so`, and every library that the binary or a module loads, by the name it asks for."""
    target.mkdir()
    loader = None
    for path in (binary, *shared):
        for name, place in _needed(path, loader).items():
            if name.startswith(("ld-linux", "ld-musl")):
                loader = loader or place
                name = "ld.so"
            if not (target / name).exists():
                shutil.copyfile(place, target / name)
    if loader is None:
        raise OSError(f"{binary} is linked statically: it cannot load modules")
    (target / "ld.so").chmod(0o755)


def _needed(path: Path, loader: Path | None) -> dict[str, Path]:
    """`soname -> file`, as the loader says when it is asked to list instead of running."""
    words = [str(path)] if loader is None else [str(loader), "--list", str(path)]
    done = subprocess.run(
        words,
        check=True,
        capture_output=True,
        text=True,
        env={"LD_TRACE_LOADED_OBJECTS": "1"} if loader is None else {},
    )
    found = {}
    for line in done.stdout.splitlines():
        words = line.split()
        if "=>" in words and len(words) > words.index("=>") + 1:
            found[words[0]] = Path(words[words.index("=>") + 1])
        elif words and words[0].startswith("/"):
            found[Path(words[0]).name] = Path(words[0])
    return {Path(name).name: place for name, place in found.items()}


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m ray_jobs.agent.bundle FOLDER\n")
        return 2
    build(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
