"""What the builder loop asks for: an archive out of the storage made into an image, wherever that happens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend.engine.images.embedded import BuiltImage, EmbeddedBuilder
from backend.ports.storage import Storage, StoredFileMissing


class Built(Protocol):
    @property
    def manifest_digest(self) -> str:
        """Bare hex: `image.checksum` on the ledger."""
        ...


@dataclass(frozen=True, slots=True)
class Archive:
    """A function's archive: a storage key, and the SHA-256 of its bytes in hex."""

    storage: Storage
    key: str
    checksum: str

    def path(self) -> Path:
        """A local file. Raises OSError when it is missing."""
        try:
            return self.storage.local_path(self.key)
        except StoredFileMissing:
            raise OSError("the function's archive is missing in our storage") from None

    def url(self, expires_s: int) -> str:
        """Where whoever holds the URL gets its bytes. Raises OSError: missing, or our storage has no URLs."""
        if not self.storage.exists(self.key):
            raise OSError("the function's archive is missing in our storage")
        url = self.storage.download_url(self.key, expires_s)
        if url is None:
            raise OSError("builds in the cluster need an object store (OBJECTSTORE_URL)")
        return url


class ImageBuilder(Protocol):
    """Builds an archive's image; the log file has the whole story, also of a failure."""

    def build(self, archive: Archive, log_path: Path, stopped: Callable[[], bool]) -> Built:
        """Raises BuildFailed: the user's Dockerfile, or the time limit. BuildStopped: `stopped` said so."""
        ...

    def known(self, digest: str) -> bool:
        """Whether the image of this manifest is here, whole."""
        ...


class OnThisMachine:
    """The embedded builder and its image store."""

    def __init__(self, builder: EmbeddedBuilder, known: Callable[[str], bool]) -> None:
        self._builder = builder
        self._known = known

    def build(self, archive: Archive, log_path: Path, stopped: Callable[[], bool]) -> BuiltImage:
        return self._builder.build(archive.path(), log_path, stopped)

    def known(self, digest: str) -> bool:
        return self._known(digest)
