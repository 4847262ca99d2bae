"""Building function images without a container engine: the Dockerfile subset into Python environments.

One build is a chain of states. A state's key is made of its parent's key, the instruction and what it read;
`<MEDIA_ROOT>/images/cache/<key>.json` names the layer that the instruction left, so images that differ only in
their last lines share everything before. What was made for a key is made once, under a lock.
"""

import hashlib
import json
import math
import os
import platform
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend.engine.images.build_log import BuildLog
from backend.engine.images.context import Context, ContextError, unpack_context
from backend.engine.images.copying import CopyPlan, write_folders
from backend.engine.images.dockerfile import (
    Arg,
    Copy,
    Dockerfile,
    DockerfileError,
    Env,
    Ignored,
    Run,
    Step,
    Workdir,
    read_dockerfile,
)
from backend.engine.images.interpreters import Interpreter, Interpreters, NoInterpreter
from backend.engine.images.layers import Listing
from backend.engine.images.manifest import BadImage, Layer, Manifest, compose
from backend.engine.images.processes import Processes, TimeIsUp
from backend.engine.images.running import RunFailed, Runner
from backend.engine.images.stand_ins import network_environment, write_stand_ins
from backend.engine.images.store import PYTHON, ImageStore
from backend.engine.images.tree import BuildTree
from backend.engine.images.unpacking import remove_tree
from backend.engine.images.venv_stand_in import create

__all__ = ["BuildFailed", "BuiltImage", "EmbeddedBuilder"]
_GENERATION = (
    1  # part of every key: raise it when the same instruction gives another layer than before
)
_ABOUT = (
    "Embedded mode: the image is a Python environment on this machine. No system packages, no other "
    "languages, no container; apt, users and owners have no effect."
)


class BuildFailed(Exception):
    """The Dockerfile is to blame (category BUILD). `reason` is short, the log at `log_path` tells all."""

    def __init__(self, reason: str, log_path: Path) -> None:
        super().__init__(reason)
        self.reason = reason
        self.log_path = log_path


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """`manifest` is stored, its layers too."""

    manifest: Manifest
    log_path: Path

    @property
    def manifest_digest(self) -> str:
        """Bare hex: `image.checksum` on the ledger."""
        return self.manifest.digest


class EmbeddedBuilder:
    """Builds images of one organization into its store. Thread-safe; builds share only finished layers.

    `run_environment` is the captured proxy, index and certificate variables (rule 42). `timeout_s` 0: no limit.
    """

    def __init__(
        self,
        media_root: Path,
        *,
        run_environment: Mapping[str, str],
        timeout_s: float = 3600,
        store: ImageStore | None = None,
    ) -> None:
        self._root = media_root / "images"
        self._timeout_s = timeout_s
        self._run_environment = dict(run_environment)
        self._interpreters = Interpreters(
            self._root / "python", network_environment(run_environment)
        )
        self._store = store or ImageStore(media_root, self._interpreters)
        for name in ("cache", "builds"):
            (self._root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._forget_dead_builds()

    def build(
        self, archive: Path, log_path: Path, stopped: Callable[[], bool] = lambda: False
    ) -> BuiltImage:
        """Build a function's archive; the log is written to `log_path` as it goes.

        `stopped` is asked again and again whether the image is still wanted.

        Raises:
            BuildFailed: the archive or its Dockerfile is to blame.
            BuildStopped: it was not wanted any more; nothing of the build is left.
            OSError: this machine is (disk full and the like).
        """
        work = self._root / "builds" / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        work.mkdir(mode=0o700)
        with BuildLog(log_path) as log:
            try:
                manifest = self._build(archive, work, log, stopped)
            except TimeIsUp:
                reason = f"the build took longer than {self._timeout_s:g} seconds"
            except (DockerfileError, ContextError, BadImage, NoInterpreter, RunFailed) as error:
                reason = str(error)
            else:
                log.line(f"Successfully built {manifest.digest}")
                return BuiltImage(manifest, log_path)
            finally:
                remove_tree(work)
            log.line(f"ERROR: {reason}")
        raise BuildFailed(reason, log_path)

    def _build(
        self, archive: Path, work: Path, log: BuildLog, stopped: Callable[[], bool]
    ) -> Manifest:
        deadline = time.monotonic() + (self._timeout_s or math.inf)
        processes = Processes(work / "tmp", log, deadline, stopped)
        pulse = processes.check
        context = work / "context"
        context.mkdir()
        log.line(_ABOUT)
        unpack_context(archive, context, pulse)
        dockerfile = _read(context)
        interpreter = self._interpreters.find(dockerfile.base.python)
        _check_entrypoint(dockerfile.entrypoint, interpreter, log)
        log.hide(work / "root", "")
        log.hide(work, "")
        (work / "tmp").mkdir()
        write_stand_ins(work / "tools", interpreter)
        tree = BuildTree(work, self._store, interpreter, log, pulse)
        runner = Runner(
            tree,
            processes,
            interpreter,
            tools=work / "tools",
            uv_cache=self._root / "uv-cache",
            run_environment=self._run_environment,
        )
        build = _Build(
            self._store,
            self._root / "cache",
            Context(context),
            work,
            log,
            tree,
            runner,
            interpreter,
            pulse,
        )
        build.start(dockerfile)
        for number, step in enumerate(dockerfile.steps, start=2):
            processes.check()
            log.line(f"Step {number}/{len(dockerfile.steps) + 1} : {step.text}")
            build.take(step)
        manifest = build.manifest(dockerfile)
        return self._store.add_manifest(manifest.content, manifest.digest)

    def _forget_dead_builds(self) -> None:
        """What processes that are no more left behind; names begin with their process ids."""
        for name in ("builds", "scratch"):
            for path in (self._root / name).iterdir():
                owner = path.name.partition("-")[0]
                if owner.isdigit() and not Path("/proc", owner).exists():
                    remove_tree(path)


def _read(context: Path) -> Dockerfile:
    path = context / "Dockerfile"
    if not path.is_file():
        raise DockerfileError("the archive has no file named Dockerfile at its root")
    try:
        return read_dockerfile(path.read_text("utf-8"))
    except UnicodeDecodeError:
        raise DockerfileError("not UTF-8") from None


def _check_entrypoint(words: tuple[str, ...], interpreter: Interpreter, log: BuildLog) -> None:
    """A Python has to be the image's; any other program is looked for when a task starts."""
    name = words[0].rpartition("/")[2]
    if name in ("python", "python3", f"python{interpreter.version}"):
        return
    if PYTHON.fullmatch(name):
        raise DockerfileError(
            f"ENTRYPOINT {name}: not found, the image has Python {interpreter.version}"
        )
    log.line(
        f"ENTRYPOINT {words[0]!r} is no Python: it is looked for in the image, then where tasks run"
    )


@dataclass
class _Build:
    """The state that one build has reached."""

    store: ImageStore
    cache: Path
    context: Context
    work: Path
    log: BuildLog
    tree: BuildTree
    runner: Runner
    interpreter: Interpreter
    pulse: Callable[[], None]
    key: str = ""
    layers: list[Layer] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    _listing: Listing = field(default_factory=Listing)
    _listed: int = 0

    def start(self, dockerfile: Dockerfile) -> None:
        """FROM: an empty environment at /usr/local, and the packages that the base image has."""
        base = dockerfile.base
        self.log.line(f"Step 1/{len(dockerfile.steps) + 1} : {dockerfile.from_text}")
        for note in base.notes:
            self.log.line(note)
        self.environment = dict(base.environment)
        self._advance("from", _GENERATION, base.python, platform.system(), platform.machine())
        self._once(self._lay_base)
        if base.packages:
            self._advance("packages", base.packages)
            self._once(lambda: self.runner.install(base.packages, self.environment))
        self.workdir = base.workdir
        self._make_folder(base.workdir)

    def take(self, step: Step) -> None:
        """Carry out one instruction; the key follows it."""
        if isinstance(step, Env):
            self.environment |= step.variables
        elif isinstance(step, Arg):
            self.arguments |= step.variables
        elif isinstance(step, Workdir):
            self.workdir = step.path
            self._make_folder(step.path)
        elif isinstance(step, Copy):
            self._copy(step)
        elif isinstance(step, Run):
            variables = {**self.arguments, **self.environment}
            self._advance("run", step.command, variables, self.workdir)
            self._once(lambda: self.runner.run(step.command, variables, self.workdir))
        elif isinstance(step, Ignored):
            self.log.line(f" ---> {step.why}")

    def manifest(self, dockerfile: Dockerfile) -> Manifest:
        """What was built. The environment ends with the last layer that a RUN (or FROM) left."""
        last = max(number for number, layer in enumerate(self.layers) if layer.environment)
        return compose(
            python=self.interpreter.version,
            env=self.environment,
            workdir=self.workdir,
            entrypoint=dockerfile.entrypoint,
            layers=tuple(
                Layer(layer.digest, layer.size, number <= last)
                for number, layer in enumerate(self.layers)
            ),
        )

    def _advance(self, *parts: object) -> None:
        text = json.dumps([self.key, *parts], sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()

    def _lay_base(self) -> None:
        folder = self.tree.root / "usr" / "local"
        folder.mkdir(parents=True)
        version, executable = self.interpreter.version, self.interpreter.executable
        create(folder, version=version, executable=executable)
        for name in ("root", "tmp"):
            (self.tree.root / name).mkdir()

    def _once(self, make: Callable[[], None]) -> None:
        """The layer of the present key: found, or made by `make` in the tree and kept."""
        if self._cached():
            return
        with self.store.locked(f"state-{self.key}", self.pulse):
            if self._cached():
                return
            self.tree.prepare()
            before = self.tree.snapshot()
            make()
            self.runner.compile(self.tree.settle(before))
            scratch = self.store.scratch_path()
            written = self.tree.write_layer(before, scratch)
            layer = None
            if written is not None:
                layer = Layer(*written, environment=True)
                self.store.adopt_layer(scratch, layer.digest)
            self._remember(layer)
        if layer is not None:
            self._push(layer, laid=True)

    def _cached(self) -> bool:
        try:
            found = json.loads((self.cache / f"{self.key}.json").read_text())
        except (OSError, ValueError):
            return False
        if found["digest"] is None:
            self.log.line(" ---> using cache")
            return True
        if not self.store.use_layer(found["digest"]):
            return False
        self.log.line(" ---> using cache")
        self._push(Layer(found["digest"], found["size"], environment=True))
        return True

    def _remember(self, layer: Layer | None) -> None:
        scratch = self.store.scratch_path()
        content = {"digest": layer.digest, "size": layer.size} if layer else {"digest": None}
        scratch.write_text(json.dumps(content))
        scratch.rename(self.cache / f"{self.key}.json")

    def _push(self, layer: Layer, *, laid: bool = False) -> None:
        self.layers.append(layer)
        if not laid:
            self.tree.push(layer)

    def _state(self) -> Listing:
        for layer in self.layers[self._listed :]:
            self._listing.add(self.store.layer_path(layer.digest))
        self._listed = len(self.layers)
        return self._listing

    def _make_folder(self, path: str) -> None:
        listing = self._state()
        names = listing.missing_folders(listing.resolve(path))
        self._advance("folder", path)
        if names:
            scratch = self.store.scratch_path()
            writer = write_folders(names, scratch)
            self._adopt(scratch, writer.digest, writer.size)

    def _copy(self, step: Copy) -> None:
        plan = CopyPlan(step, self.context, self._state(), self.work, self.pulse).gather()
        scratch = self.store.scratch_path()
        writer = plan.write(scratch)
        self._advance("copy", step.target, writer.digest)
        if writer.count:
            self._adopt(scratch, writer.digest, writer.size)
        else:
            scratch.unlink()

    def _adopt(self, scratch: Path, digest: str, size: int) -> None:
        self.store.adopt_layer(scratch, digest)
        self._push(Layer(digest, size, environment=False))
