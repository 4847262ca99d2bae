"""A function's image, local and ready to run: its manifest and missing layers come from the owner (rule 31)."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from backend.engine.compute.wanted import go_on, held
from backend.engine.images.interpreters import NoInterpreter
from backend.engine.images.manifest import BadImage, Manifest
from backend.engine.images.store import ImageStore, UnknownImage
from backend.ports.exchange import Exchange, PeerRefused, WrongChecksum

Environment = dict[str, Any]


class ImageForGood(Exception):
    """The image will never come: refused, gone or damaged (rule 44). The text is a short reason."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where an image comes from, and who may end its transfer."""

    function: UUID
    owner: str
    channel: str
    stopped: Callable[[], bool]


class ImageTransfer:
    """The images that tasks of this organization run in. Thread-safe; one transfer an image at a time."""

    def __init__(
        self,
        store: ImageStore,
        exchange: Exchange,
        me: str,
        scratch: Path,
        moved: Callable[[int], None] = lambda size: None,
        used: Callable[..., None] = lambda *paths: None,
    ) -> None:
        """`moved` is told the bytes that came from another organization, `used` the folders handed out."""
        self._moved = moved
        self._used = used
        self._store = store
        self._exchange = exchange
        self._me = me
        self._scratch = scratch
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._ready: dict[str, Environment] = {}

    def present(self, digest: str) -> Environment | None:
        """The environment when it was made ready before and is still there: one look at the disk."""
        environment = self._ready.get(digest)
        if environment is None:
            return None
        if not all(Path(path).exists() for path in (environment["root"], *environment["layers"])):
            self._ready.pop(digest, None)
            return None
        self._used(environment["root"], *environment["layers"])
        return environment

    def bring(
        self,
        function: UUID,
        owner: str,
        channel: str,
        digest: str,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Environment:
        """Make the image with this manifest digest (bare hex) ready, fetching what is missing.

        Raises:
            ImageForGood: it will never come.
            PeerUnreachable, PeerRefused, OSError: not now.
            TransferStopped: `stopped` said so, in the middle of a transfer or of unpacking.
        """
        with self._guard:
            lock = self._locks.setdefault(digest, threading.Lock())
        with held(lock, stopped):
            environment = self.present(digest)
            if environment is None:
                try:
                    environment = self._materialized(
                        _Source(function, owner, channel, stopped), digest
                    )
                except (BadImage, NoInterpreter) as error:
                    raise ImageForGood(f"the function's image cannot be used: {error}") from None
                self._ready[digest] = environment
                self._used(environment["root"], *environment["layers"])
            return environment

    def _materialized(self, source: "_Source", digest: str) -> Environment:
        try:
            manifest = self._store.manifest(digest)
        except UnknownImage:
            if source.owner == self._me:
                raise ImageForGood("our own image is missing in our image store") from None
            manifest = self._fetch_manifest(source, digest)
        for layer in self._store.missing_layers(manifest):
            self._fetch_layer(source, layer)
        return self._store.materialize(manifest, partial(go_on, source.stopped), self._used)

    def _fetch_manifest(self, source: "_Source", digest: str) -> Manifest:
        path = self._fetch(source, "", digest)
        try:
            content = path.read_bytes()
        finally:
            path.unlink(missing_ok=True)
        return self._store.add_manifest(content, digest)

    def _fetch_layer(self, source: "_Source", layer: str) -> None:
        if source.owner == self._me:
            raise ImageForGood("a layer of our own image is missing in our image store")
        path = self._fetch(source, f"?layer={layer}", layer.removeprefix("sha256:"))
        try:
            self._store.add_layer(path, layer, checked=True)
        finally:
            path.unlink(missing_ok=True)

    def _fetch(self, source: "_Source", query: str, checksum: str) -> Path:
        """One checked file. Its name follows from the checksum, so that a cut transfer is continued."""
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = self._scratch / f"image-{checksum}"
        try:
            size = self._exchange.fetch(
                source.owner,
                source.channel,
                f"/function/{source.function}/image/{query}",
                target,
                checksum,
                stopped=source.stopped,
            )
            self._moved(size)
        except WrongChecksum:
            raise ImageForGood("the function's image has a wrong checksum") from None
        except PeerRefused as error:
            if not error.final:
                raise
            raise ImageForGood(
                f"the owner refuses the function's image ({error.status_code})"
            ) from None
        taken = target.with_name(f"{target.name}-{uuid.uuid4().hex[:8]}")
        return target.rename(taken)
