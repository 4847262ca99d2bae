"""Function images for pods: named by digest in our own registry, with what their configuration says.

The ledger's `image.checksum` is the SHA-256 of the manifest (rule 43), so it names the image in any
registry that has it.
"""

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import structlog

from backend.engine.compute.cluster.template import FunctionImage
from backend.engine.compute.wanted import held
from backend.engine.images.published import ImagesOfOthers
from backend.engine.images.transfer import ImageForGood
from backend.ports.registry import Registry, RegistryRefused

log = structlog.get_logger()
LOOK_AGAIN_S = 10.0
"""How long an image that was not there is taken for missing by `known`."""


class PodImages:
    """The images of one organization. Thread-safe."""

    def __init__(
        self, registry: Registry, host: str, repository: str, me: str, others: ImagesOfOthers
    ) -> None:
        """`host` is the registry as nodes of the cluster name it; `others` brings what is not ours."""
        self._others = others
        self._registry = registry
        self._host = host
        self._repository = repository
        self._me = me
        self._known: dict[str, FunctionImage] = {}
        self._missing: dict[str, float] = {}
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def present(self, digest: str) -> dict[str, Any] | None:
        """The environment of an image that was found before. No call to the registry."""
        image = self._known.get(digest)
        return _environment(image) if image is not None else None

    def bring(
        self,
        function: UUID,
        owner: str,
        channel: str,
        digest: str,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """The environment of an image in our registry, where another organization's is brought to first.

        Raises:
            ImageForGood: it will never come.
            PeerUnreachable, PeerRefused, OSError: not now.
            TransferStopped: `stopped` said so, in the middle of a transfer.
        """
        with held(self._lock(digest), stopped):
            try:
                image = self._found(digest)
                if image is None and owner != self._me:
                    self._others.bring(function, owner, channel, digest, stopped)
                    image = self._found(digest)
            except RegistryRefused as error:
                raise OSError(f"the function's image cannot be looked at: {error}") from error
        if image is None:
            raise ImageForGood("the function's image is not in our registry")
        return _environment(image)

    def _lock(self, digest: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(digest, threading.Lock())

    def known(self, digest: str) -> FunctionImage | None:
        """The image, if our registry has it; asks again only now and then."""
        image = self._known.get(digest)
        if image is not None or time.monotonic() < self._missing.get(digest, 0.0):
            return image
        try:
            image = self._found(digest)
        except (RegistryRefused, OSError) as error:
            log.warning("image_not_looked_at", image=digest, error=str(error)[:300])
        if image is None:
            self._missing[digest] = time.monotonic() + LOOK_AGAIN_S
        return image

    def _found(self, digest: str) -> FunctionImage | None:
        if digest in self._known:
            return self._known[digest]
        image = self._registry.image(self._repository, f"sha256:{digest}")
        if image is None:
            return None
        config = self._registry.config(image)
        found = FunctionImage(
            reference=f"{self._host}/{self._repository}@sha256:{digest}",
            workdir=str(config.get("WorkingDir") or "/"),
            entrypoint=tuple(str(word) for word in config.get("Entrypoint") or ()),
            env=tuple(_variable(str(line)) for line in config.get("Env") or ()),
        )
        self._known[digest] = found
        self._missing.pop(digest, None)
        return found


def _environment(image: FunctionImage) -> dict[str, Any]:
    """As a pod's lease names it; the image's own variables are in its container already."""
    return {
        "image": image.reference,
        "workdir": image.workdir,
        "entrypoint": list(image.entrypoint),
    }


def _variable(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name, value
