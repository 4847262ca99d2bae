"""Inputs of tasks in pods, ready in our own storage (rule 17): pods get presigned addresses of no other.

Own models and openers are there anyway. Models of other organizations and data samples are made ready here,
once: fetched or unpacked, verified by `AssetCache`, and put beside the other files, a sample as a plain tar.
"""

import hashlib
import posixpath
import tarfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from backend.engine.compute.cache import AssetCache, ForGood
from backend.engine.compute.store import InputAsset
from backend.engine.compute.wanted import go_on, held
from backend.ports.storage import Storage

STAGED = "staged"
SAMPLE, MODEL = "ASSET_DATA_SAMPLE", "ASSET_MODEL"


class PodInputs:
    """What is ready in one organization's storage; places are storage keys. Thread-safe."""

    def __init__(self, me: str, storage: Storage, cache: AssetCache) -> None:
        self._me = me
        self._storage = storage
        self._cache = cache
        self._ready: dict[uuid.UUID, str] = {}
        self._guard = threading.Lock()
        self._locks: dict[uuid.UUID, threading.Lock] = {}

    def present(self, asset: InputAsset) -> str | None:
        """Where the asset lies; None when it has to be made ready first. No call to the store."""
        if asset.kind == SAMPLE or (asset.kind == MODEL and asset.owner != self._me):
            return self._ready.get(asset.key)
        return asset.file

    def bring(
        self, asset: InputAsset, channel: str, stopped: Callable[[], bool] = lambda: False
    ) -> str:
        """Make the asset ready; returns at once when somebody else has done it.

        Raises:
            ForGood: it will never come.
            PeerUnreachable, PeerRefused, OSError: not now.
            TransferStopped: `stopped` said so, in the middle.
        """
        with held(self._lock(asset.key), stopped):
            found = self.present(asset)
            if found is not None:
                return found
            if not asset.available:
                raise ForGood(f"input {asset.identifier!r} is not available any more")
            if asset.owner == self._me and asset.kind != SAMPLE:
                raise ForGood(f"input {asset.identifier!r} is missing in our storage")
            folder = _folder(asset.kind, asset.key)
            names = list(self._storage.keys(folder))
            if not names:
                path = self._cache.bring(asset, channel, stopped)
                go_on(stopped)
                names = [self._stage(asset, path, folder)]
            self._ready[asset.key] = names[0]
            return names[0]

    def staged_models(self) -> list[uuid.UUID]:
        """Models of other organizations in our storage."""
        names = self._storage.keys(f"{STAGED}/models")
        return list(dict.fromkeys(uuid.UUID(name.split("/")[2]) for name in names))

    def drop_model(self, key: uuid.UUID) -> None:
        """A disabled model of another organization leaves the storage too."""
        self._cache.drop_model(key)
        self._ready.pop(key, None)
        for name in list(self._storage.keys(_folder(MODEL, key))):
            self._storage.delete(name)

    def _stage(self, asset: InputAsset, path: Path, folder: str) -> str:
        if asset.kind != SAMPLE:
            name = f"{folder}/model"
            self._storage.adopt(path, name)
            return name
        archive = self._storage.scratch() / f"sample-{uuid.uuid4().hex}"
        try:
            with tarfile.open(archive, "x", format=tarfile.PAX_FORMAT) as tar:
                tar.add(path, arcname=".", filter=_plain)
            with archive.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            name = f"{folder}/{digest}.tar"
            self._storage.adopt(archive, name)
        finally:
            archive.unlink(missing_ok=True)
        return name

    def _lock(self, key: uuid.UUID) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())


def digest_of(place: str) -> str:
    """The SHA-256 of a staged sample's tar: its name says it."""
    return posixpath.basename(place).removesuffix(".tar")


def _folder(kind: str, key: uuid.UUID) -> str:
    return f"{STAGED}/{'datasamples' if kind == SAMPLE else 'models'}/{key}"


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Regular files and folders and nothing else, the same bytes whoever makes them and whenever."""
    if not (entry.isreg() or entry.isdir()):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry
