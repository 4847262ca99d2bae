"""Images of the cluster's registry, for other organizations: their blobs in our own store, once each.

The API gives them by `/function/<key>/image/` as it gives the embedded builder's: the manifest, and each
layer by its digest, with ranges. So it needs neither the registry nor its log-in, and only what is missing
travels.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import structlog

from backend.assets.functions.images import layer_file, manifest_file
from backend.engine.images.transfer import ImageForGood
from backend.ports.exchange import Exchange, PeerRefused, WrongChecksum
from backend.ports.registry import Registry, RegistryRefused
from backend.ports.storage import Storage

log = structlog.get_logger()
MOST_BLOBS = 500
MOST_MANIFEST = 4 << 20


def publish(registry: Registry, repository: str, digest: str, storage: Storage) -> None:
    """Put what is missing of an image of ours into the store; `digest` is the manifest's, bare hex.

    Raises:
        RegistryUnavailable, StorageUnavailable (OSError): not now. RegistryRefused: it is not there.
    """
    if storage.exists(manifest_file(digest)):
        return
    image = registry.image(repository, f"sha256:{digest}")
    if image is None:
        raise RegistryRefused(f"{repository}: no image {digest}")
    for blob in blobs(image.manifest):
        name = layer_file(blob)
        if storage.exists(name):
            continue
        with registry.blob(repository, blob) as pieces:
            storage.put(name, pieces, blob.removeprefix("sha256:"))
    storage.put(manifest_file(digest), [image.manifest], digest)  # the last: then it is whole


def blobs(manifest: bytes) -> list[str]:
    """Digests of an image's configuration and layers. Raises ImageForGood for what is no image."""
    try:
        found: dict[str, Any] = json.loads(manifest)
        digests = [str(part["digest"]) for part in (found["config"], *found["layers"])]
    except (ValueError, KeyError, TypeError):
        raise ImageForGood("the function's image is none of a registry") from None
    if len(digests) > MOST_BLOBS or not all(map(_is_digest, digests)):
        raise ImageForGood("the function's image has a strange manifest")
    return list(dict.fromkeys(digests))


class ImagesOfOthers:
    """Brings function images of other organizations into our registry. Thread-safe."""

    def __init__(
        self,
        registry: Registry,
        repository: str,
        exchange: Exchange,
        scratch: Path,
        moved: Callable[[int], None] = lambda size: None,
    ) -> None:
        """`moved` is told the bytes that came."""
        self._registry = registry
        self._repository = repository
        self._exchange = exchange
        self._scratch = scratch
        self._moved = moved

    def bring(
        self, function: UUID, owner: str, channel: str, digest: str, stopped: Callable[[], bool]
    ) -> None:
        """Fetch what our registry lacks, and push it there.

        Raises:
            ImageForGood: it will never come.
            PeerUnreachable, PeerRefused, RegistryUnavailable (OSError), RegistryRefused: not now.
            TransferStopped: `stopped` said so.
        """

        def fetch(query: str, checksum: str) -> Path:
            return self._fetch(
                owner, channel, f"/function/{function}/image/{query}", checksum, stopped
            )

        with _gone_after(fetch("", digest)) as path:
            if path.stat().st_size > MOST_MANIFEST:
                raise ImageForGood("the function's image has a strange manifest")
            content = path.read_bytes()
        for blob in blobs(content):
            if self._registry.has_blob(self._repository, blob):
                continue
            with _gone_after(fetch(f"?layer={blob}", blob.removeprefix("sha256:"))) as path:
                self._registry.push_blob(self._repository, blob, path)
        self._registry.push_manifest(self._repository, f"sha256:{digest}", content)
        log.info("image_brought", function=str(function), owner=owner, image=digest)

    def _fetch(
        self, owner: str, channel: str, path: str, checksum: str, stopped: Callable[[], bool]
    ) -> Path:
        """One checked file. Its name follows from the checksum, so that a cut transfer is continued."""
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = self._scratch / f"image-{checksum}"
        try:
            self._moved(
                self._exchange.fetch(owner, channel, path, target, checksum, stopped=stopped)
            )
        except WrongChecksum:
            raise ImageForGood("the function's image has a wrong checksum") from None
        except PeerRefused as error:
            if not error.final:
                raise
            raise ImageForGood(
                f"the owner refuses the function's image ({error.status_code})"
            ) from None
        return target.rename(target.with_name(f"{target.name}-{uuid4().hex[:8]}"))


@contextmanager
def _gone_after(path: Path) -> Iterator[Path]:
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _is_digest(text: str) -> bool:
    scheme, _, rest = text.partition(":")
    return scheme == "sha256" and len(rest) == 64 and not set(rest) - set("0123456789abcdef")
