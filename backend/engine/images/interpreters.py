"""Local Python interpreters by version: what a FROM line of the embedded mode stands on."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import structlog
import uv

log = structlog.get_logger(__name__)
_PROBE = (
    "import json, os, sys; print(json.dumps([list(sys.version_info[:2]), sys.implementation.name,"
    " os.path.realpath(getattr(sys, '_base_executable', sys.executable)), sys.base_prefix]))"
)


class NoInterpreter(LookupError):
    """This machine has no Python of the version wanted, and none could be installed."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`executable` is a real path outside any virtual environment; `prefix` its `sys.base_prefix`."""

    version: str
    executable: str
    prefix: str


class Interpreters:
    """Finds an interpreter once per version and remembers it.

    `folder` receives interpreters that uv installs; `environment` is what uv's download runs with.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._known: dict[str, Interpreter] = {}
        self._lock = Lock()

    def find(self, version: str) -> Interpreter:
        """The interpreter of `version` ("3.11").

        Raises:
            NoInterpreter: none is here and none can be had.
        """
        with self._lock:
            known = self._known.get(version)
            if known is None or not Path(known.executable).exists():
                known = self._known[version] = self._search(version)
            return known

    def _search(self, version: str) -> Interpreter:
        for candidate in self._candidates(version):
            found = _probe(candidate, version)
            if found:
                return found
        self._install(version)
        for installed in self._folder.glob(f"cpython-{version}.*/bin/python{version}"):
            found = _probe(str(installed), version)
            if found:
                return found
        raise NoInterpreter(
            f"Python {version} is not installed on this machine, and uv could not install it: "
            f"install python{version} or use another FROM python:X.Y"
        )

    def _candidates(self, version: str) -> Iterator[str]:
        name = f"python{version}"
        if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
            yield str(getattr(sys, "_base_executable", sys.executable))
        for folder in os.get_exec_path():
            if Path(folder, name).exists():
                yield str(Path(folder, name))
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
        yield from (str(path) for path in pyenv.glob(f"versions/{version}.*/bin/{name}"))
        yield from (str(path) for path in self._folder.glob(f"cpython-{version}.*/bin/{name}"))
        managed = Path.home() / ".local/share/uv/python"
        yield from (str(path) for path in managed.glob(f"cpython-{version}.*/bin/{name}"))
        for place in ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"):
            if found := shutil.which(name, path=place):
                yield found

    def _install(self, version: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [uv.find_uv_bin(), "python", "install", "--no-bin", "--no-config", version]
        environment = {
            **self._environment,
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self._folder),
            "UV_PYTHON_INSTALL_DIR": str(self._folder),
        }
        try:
            subprocess.run(command, env=environment, capture_output=True, timeout=300, check=True)
        except (subprocess.SubprocessError, OSError) as error:
            log.warning("python_not_installed", version=version, error=type(error).__name__)


def _probe(candidate: str, version: str) -> Interpreter | None:
    """Ask a program what it is; shims of absent versions, broken links and others answer None."""
    try:
        answer = subprocess.run(
            [candidate, "-I", "-S", "-c", _PROBE],
            capture_output=True,
            timeout=10,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        (major, minor), implementation, executable, prefix = json.loads(answer.stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        return None
    if f"{major}.{minor}" != version or implementation != "cpython":
        return None
    return Interpreter(version, executable, prefix)
