"""Building function images in the cluster: a Job for each archive, watched until its image is there.

Killed at any line, the next builder finds the image in the registry, or the Job, and goes on from there. What
builds in the Job is the recipe's affair: Kaniko or BuildKit.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from backend.engine.images.build_job import (
    JOBS,
    BuildOptions,
    BuildSource,
    Job,
    Recipe,
    job_name,
)
from backend.engine.images.build_log import BuildLog
from backend.engine.images.build_states import State, Verdict, judge
from backend.engine.images.embedded import BuildFailed
from backend.engine.images.processes import BuildStopped
from backend.ports.registry import ImageFound, Registry, RegistryRefused
from kuberay.errors import AlreadyExists, KubeError, NotFound
from kuberay.resources import PODS, Resource
from kuberay.shapes import Pod
from kuberay.transport import Connection

LOOK_S = 0.5
GONE_S = 60.0
SLOWEST = 10
"""So many times longer may a start take that nothing speaks against: a large image on its way."""
log = structlog.get_logger()


class BuildAgain(OSError):
    """The build did not come to an end, by nobody's fault: the same build may succeed later."""


@dataclass(frozen=True, slots=True)
class BuiltInRegistry:
    """An image in the registry; `reference` names it by digest, `entrypoint` is what its container runs."""

    reference: str
    digest: str
    entrypoint: tuple[str, ...]
    log_path: Path
    seconds: dict[str, float]  # of steps: waiting, building

    @property
    def manifest_digest(self) -> str:
        """Bare hex."""
        return self.digest.removeprefix("sha256:")


class ClusterBuilder:
    """Builds images of one organization. Thread-safe; the same archive is never built twice at once."""

    def __init__(
        self,
        connection: Connection,
        registry: Registry,
        recipe: Recipe,
        options: BuildOptions,
        *,
        start_s: float = 120.0,
    ) -> None:
        """`start_s`: how long a build may lack a place, an image or a Secret before it is tried again."""
        self._connection = connection
        self._registry = registry
        self._recipe = recipe
        self._options = options
        self._start_s = start_s
        self._jobs = Resource(connection, JOBS, options.namespace)
        self._pods = Resource(connection, PODS, options.namespace)

    def build(
        self, source: BuildSource, log_path: Path, stopped: Callable[[], bool] = lambda: False
    ) -> BuiltInRegistry:
        """Build an archive, unless its image is there; the builder's output is in `log_path`.

        Raises:
            BuildFailed: the archive or its Dockerfile is to blame, or the build took too long.
            BuildStopped: it was not wanted any more; its Job is gone.
            BuildAgain, RegistryUnavailable: not now. RegistryRefused, KubeError: not as it is set up.
        """
        with BuildLog(log_path) as writing:
            image = self._registry.image(self._options.repository, source.tag)
            if image is not None:
                writing.line(f"Already built: {source.tag}")
                return self._told(image, log_path, writing, {})
            try:
                digest, seconds = self._run(source, log_path, writing, stopped)
            except (KubeError, BuildAgain) as error:  # another builder may have done it
                image = self._registry.image(self._options.repository, source.tag)
                if image is None:
                    if isinstance(error, KubeError):
                        raise BuildAgain(f"the cluster does not do it: {error}") from error
                    raise
                return self._told(image, log_path, writing, {})
            image = self._registry.image(self._options.repository, digest)
            if image is None:
                raise BuildAgain(f"the image {digest} is not in the registry")
            return self._told(image, log_path, writing, seconds)

    # ------------------------------------------------------------------ the Job
    def _run(
        self, source: BuildSource, log_path: Path, writing: BuildLog, stopped: Callable[[], bool]
    ) -> tuple[str, dict[str, float]]:
        job = self._begun(source)
        uid = job["metadata"]["uid"]
        began, running_since, told = time.monotonic(), 0.0, ""
        stuck_since: float | None = None
        while True:
            pods = self._pods_of(source)  # before the Job, whose time limit ends them
            verdict = judge(
                self._seen(source, uid), pods, self._options.timeout_s, self._recipe.container
            )
            now = time.monotonic()
            if verdict.state is State.RUNNING and not running_since:
                running_since = now
            if verdict.reason and verdict.reason != told and verdict.state is State.WAITING:
                told = verdict.reason
                log.info("build_waits", job=self._name(source), reason=told)
            if stopped():
                self._remove(source, uid)
                raise BuildStopped
            stuck = verdict.state is State.WAITING and bool(verdict.reason)
            stuck_since = (stuck_since or now) if stuck else None
            if stuck_since is not None and now - stuck_since > self._start_s:
                verdict = Verdict(State.AGAIN, verdict.reason)
            elif verdict.state is State.WAITING and now - began > SLOWEST * self._start_s:
                verdict = Verdict(State.AGAIN, "the build's pod does not start")
            if verdict.state not in (State.WAITING, State.RUNNING):
                break
            time.sleep(LOOK_S)
        self._copy_log(source, writing)
        self._remove(source, uid)
        if verdict.state is State.REFUSED and self._recipe.blames_network(_tail(log_path)):
            verdict = Verdict(State.AGAIN, "the builder could not reach a registry")
        if verdict.state is State.AGAIN:
            raise BuildAgain(verdict.reason)
        if verdict.state is State.REFUSED:
            writing.line(f"ERROR: {verdict.reason}")
            raise BuildFailed(verdict.reason, log_path)
        running = running_since or now
        return verdict.reason, {"waiting": running - began, "building": now - running}

    def _begun(self, source: BuildSource) -> Job:
        """The Job, ours or one that a builder before us began; one that ended goes first."""
        deadline = time.monotonic() + GONE_S
        while True:
            try:
                return self._jobs.create(self._recipe.job(self._options, source))
            except AlreadyExists:
                found = self._jobs.find(self._name(source))
            if found is None:
                continue
            status: Any = found.get("status", {})
            if not found["metadata"].get("deletionTimestamp") and status.get("active"):
                log.info("build_continued", job=self._name(source))
                return found
            if time.monotonic() > deadline:
                raise BuildAgain("an earlier build of the same archive does not go away")
            self._remove(source, found["metadata"]["uid"])
            time.sleep(LOOK_S)

    def _seen(self, source: BuildSource, uid: str) -> Job:
        try:
            job = self._jobs.get(self._name(source))
        except NotFound:
            raise BuildAgain("the build's Job was deleted") from None
        if job["metadata"]["uid"] != uid:
            raise BuildAgain("the build's Job was replaced")
        return job

    def _name(self, source: BuildSource) -> str:
        return job_name(self._recipe.container, source)

    def _pods_of(self, source: BuildSource) -> list[Pod]:
        return self._pods.all({"batch.kubernetes.io/job-name": self._name(source)})

    def _remove(self, source: BuildSource, uid: str) -> None:
        try:
            self._jobs.delete(self._name(source), uid=uid)
        except KubeError as error:  # it removes itself after `keep_s`
            log.warning("build_job_left", job=self._name(source), error=str(error))

    def _copy_log(self, source: BuildSource, writing: BuildLog) -> None:
        container = {"container": self._recipe.container, "limitBytes": "8388608"}
        for pod in self._pods_of(source):
            name = pod["metadata"]["name"]
            path = f"/api/v1/namespaces/{self._options.namespace}/pods/{name}/log"
            try:
                text = self._connection.text(path, container)
            except KubeError:  # the container never began
                continue
            writing.output(text.encode())
        writing.flush()

    # ------------------------------------------------------------------ the image
    def _told(
        self, image: ImageFound, log_path: Path, writing: BuildLog, seconds: dict[str, float]
    ) -> BuiltInRegistry:
        """What runs it needs its entry point, so that is looked at now and not at the first task."""
        config = self._registry.config(image)
        words = config.get("Entrypoint") or ()
        if not words:
            reason = "the image has no ENTRYPOINT"
            writing.line(f"ERROR: {reason}")
            raise BuildFailed(reason, log_path)
        if not all(isinstance(word, str) for word in words):
            raise RegistryRefused(f"{image.repository}: an entry point that is no list of words")
        reference = f"{self._options.registry}/{image.repository}@{image.digest}"
        writing.line(f"Successfully built {reference}")
        return BuiltInRegistry(reference, image.digest, tuple(words), log_path, seconds)


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 16_384))
        return file.read().decode("utf-8", "replace")
