"""Carrying out a RUN: the shell behind its walls, pip calls by uv with the shared cache, bytecode."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uv

from backend.engine.images.image_paths import ImagePaths
from backend.engine.images.interpreters import Interpreter
from backend.engine.images.pip_lines import PipCall, pieces
from backend.engine.images.pip_stand_in import translate
from backend.engine.images.processes import Processes, Walls, network_ports
from backend.engine.images.stand_ins import network_environment, readable_places
from backend.engine.images.tree import BuildTree

_COMPILERS = min(4, os.cpu_count() or 1)
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class RunFailed(Exception):
    """A RUN ended with an exit code that is not 0; its own words are in the log."""


class Runner:
    """Runs the RUN lines of one build in `tree`.

    `uv_cache` is the organization's: only uv itself, installing wheels, ever gets to write there.
    """

    def __init__(
        self,
        tree: BuildTree,
        processes: Processes,
        interpreter: Interpreter,
        *,
        tools: Path,
        uv_cache: Path,
        run_environment: Mapping[str, str],
    ) -> None:
        self._tree = tree
        self._processes = processes
        self._interpreter = interpreter
        self._tools = tools
        self._uv_cache = uv_cache
        self._network = network_environment(run_environment)
        self._ports = network_ports(run_environment)
        self._readable = readable_places(run_environment)
        self._paths = ImagePaths(tree.root)

    def run(
        self, command: str | tuple[str, ...], variables: Mapping[str, str], workdir: str
    ) -> None:
        """Carry out one RUN.

        Raises:
            RunFailed: some part of it failed.
            TimeIsUp: the build's deadline passed.
        """
        environment = self._environment(variables)
        folder = self._folder(workdir)
        if isinstance(command, tuple):
            self._shell([self._paths.text(word) for word in command], environment, folder)
            return
        for piece in pieces(self._paths.text(command)):
            if isinstance(piece, PipCall):
                if self._pip(piece, environment, folder):
                    continue
                piece = piece.text
            self._shell(["/bin/sh", "-c", piece], environment, folder)

    def install(self, packages: tuple[str, ...], variables: Mapping[str, str]) -> None:
        """Install what a base image brings. Raises RunFailed and TimeIsUp as `run`."""
        self.run("pip install " + " ".join(packages), variables, "/")

    def compile(self, sources: list[str]) -> None:
        """Compile Python sources to bytecode that holds image paths and no times (rule 31)."""
        shards = [sources[start::_COMPILERS] for start in range(_COMPILERS)]
        with ThreadPoolExecutor(_COMPILERS) as pool:
            list(pool.map(self._compile, range(_COMPILERS), shards))

    def _folder(self, workdir: str) -> Path:
        """The working folder, which an earlier RUN may have deleted or turned into a link."""
        folder = Path(os.path.realpath(self._paths.place(workdir)))
        if not folder.is_dir() or not folder.is_relative_to(os.path.realpath(self._tree.root)):
            raise RunFailed(f"the working folder {workdir} does not exist")
        return folder

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        tmp = str(self._processes.tmp)
        given = {name: self._paths.text(value) for name, value in variables.items()}
        path = given.get("PATH", _SYSTEM_PATH)
        return {
            "HOME": self._paths.place("/root"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "UV_CACHE_DIR": f"{tmp}/uv-cache",
            "PIP_CACHE_DIR": f"{tmp}/pip-cache",
            **self._network,
            **given,
            "PATH": f"{self._tools}:{path}",
            "TMPDIR": tmp,
            "SUBSTRA_TOOLS": str(self._tools),
            "SUBSTRA_ROOT": str(self._tree.root),
        }

    def _walls(self, *, network: bool = True, cache: bool = False) -> Walls:
        write = [str(self._tree.root), str(self._processes.tmp)]
        return Walls(
            read=self._readable,
            execute=[self._interpreter.prefix, uv.find_uv_bin(), str(self._tools)],
            write=[*write, str(self._uv_cache)] if cache else write,
            ports=self._ports if network else (),
        )

    def _shell(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        code = self._processes.run(
            command, environment=environment, folder=folder, walls=self._walls()
        )
        if code:
            shown = command[-1] if command[:2] == ["/bin/sh", "-c"] else " ".join(command)
            shown = shown.replace(str(self._tree.root), "")
            raise RunFailed(f"The command {shown!r} returned a non-zero code: {code}")

    def _pip(self, call: PipCall, environment: dict[str, str], folder: Path) -> bool:
        """Whether uv has done the call from wheels alone; else the shell has to do it."""
        log = self._processes.log
        words = translate(list(call.arguments))
        if words is None or any(word in ("-e", "--no-build-isolation") for word in words):
            return False
        if words == []:
            log.line("pip is served by uv: nothing to upgrade")
            return True
        prefix = self._environment_of(call.program, environment["PATH"])
        if prefix is None or words[0] not in ("install", "uninstall"):
            return False
        if not self._tree.links_stay_inside():
            return False
        self._uv_cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        build = ["--no-build", "--cache-dir", str(self._uv_cache)] if words[0] == "install" else []
        target = ["--python", self._interpreter.executable, "--prefix", str(prefix)]
        command = [uv.find_uv_bin(), "pip", *words, *target, *build, "--break-system-packages"]
        tmp = str(self._processes.tmp)
        code = self._processes.run(
            command,
            environment={**self._network, "PATH": _SYSTEM_PATH, "HOME": tmp, "TMPDIR": tmp},
            folder=folder,
            walls=self._walls(cache=True),
        )
        self._tree.repair_programs(prefix / "bin")
        if code:
            log.line("not possible from wheels alone: once more, in the shell")
        return code == 0

    def _environment_of(self, program: str, path: str) -> Path | None:
        """The environment in the tree whose `bin` answers to `program`."""
        root = os.path.realpath(self._tree.root)
        for folder in path.split(":"):
            if folder == str(self._tools) or not Path(folder, program).exists():
                continue
            prefix = Path(os.path.realpath(folder)).parent
            configured = (prefix / "pyvenv.cfg").is_file()
            return prefix if configured and str(prefix).startswith(f"{root}/") else None
        return None

    def _compile(self, number: int, sources: list[str]) -> None:
        if not sources:
            return
        listed = self._processes.tmp / f"compile-{number}"
        listed.write_bytes(os.fsencode("\n".join(sources) + "\n"))
        root = str(self._tree.root)
        options = ["-q", "-q", "-s", root, "-p", "/", "--invalidation-mode", "unchecked-hash"]
        command = [self._interpreter.executable, "-I", "-S", "-m", "compileall", *options]
        self._processes.run(
            [*command, "-i", str(listed)],
            environment={"PATH": _SYSTEM_PATH, "HOME": str(self._processes.tmp)},
            folder=self._tree.root,
            walls=self._walls(network=False),
        )
        listed.unlink(missing_ok=True)
