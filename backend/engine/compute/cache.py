"""Inputs of tasks, local and verified (rule 17): foreign models, unpacked data samples, openers.

Everything appears in the cache by one rename, read-only, so what is there is whole. One lock per asset: a big
download stops only the tasks that need it.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from backend.assets.archives import ArchiveRefused, folder_hash, unpack
from backend.engine.compute.last_use import LastUse
from backend.engine.compute.store import InputAsset
from backend.engine.compute.wanted import go_on, held
from backend.kit.crash_points import crash_points
from backend.ports.exchange import Exchange, PeerRefused, WrongChecksum
from backend.ports.storage import Storage, StoredFileMissing

COPIED = 1 << 20
"""Bytes of a file that are copied in one go."""


class ForGood(Exception):
    """An input that will never come: refused, gone or damaged (rule 44). The text is a short reason."""


class AssetCache:
    """The cache of one organization below `<MEDIA_ROOT>/cache`."""

    def __init__(
        self,
        root: Path,
        me: str,
        storage: Storage,
        exchange: Exchange,
        moved: Callable[[int], None] = lambda size: None,
        used: LastUse | None = None,
    ) -> None:
        """`moved` is told the bytes that came from another organization, `used` what was handed out."""
        self._moved = moved
        self._used = used or LastUse()
        self.models = root / "models"
        self.samples = root / "data_samples"
        self.openers = root / "openers"
        self._me = me
        self._storage = storage
        self._exchange = exchange
        self._guard = threading.Lock()
        self._locks: dict[uuid.UUID, threading.Lock] = {}
        for folder in (self.models, self.samples, self.openers):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def present(self, asset: InputAsset) -> Path | None:
        """Where the asset's content lies; None when it has to be fetched first. Costs one look at the disk."""
        path = self._found(asset)
        if path is not None:
            self._used.touch(path)
        return path

    def _found(self, asset: InputAsset) -> Path | None:
        if asset.kind == "ASSET_MODEL":
            if asset.expected:
                return self._storage.place(asset.file) if asset.file else None
            if asset.owner == self._me and asset.file:
                with contextlib.suppress(StoredFileMissing):
                    return self._storage.local_path(asset.file)
                return None
            path = self.models / str(asset.key)
            return path if path.is_file() else None
        if asset.kind == "ASSET_DATA_MANAGER":
            path = self.openers / str(asset.key) / "__init__.py"
            return path if path.is_file() else None
        path = self.samples / str(asset.key)
        return path if path.is_dir() else None

    def bring(
        self, asset: InputAsset, channel: str, stopped: Callable[[], bool] = lambda: False
    ) -> Path:
        """Fetch, unpack and verify the asset; returns at once when somebody else has done it.

        Raises:
            ForGood: it will never come.
            PeerUnreachable, PeerRefused, OSError: not now.
            TransferStopped: `stopped` said so, in the middle of a transfer or of unpacking.
        """
        with held(self._lock(asset.key), stopped):
            path = self.present(asset)
            if path is not None:
                return path
            if not asset.available:
                raise ForGood(f"input {asset.identifier!r} is not available any more")
            if asset.kind == "ASSET_MODEL":
                self._bring_model(asset, channel, stopped)
            elif asset.kind == "ASSET_DATA_MANAGER":
                self._bring_opener(asset)
            else:
                self._bring_sample(asset, partial(go_on, stopped))
        path = self.present(asset)
        if path is None:
            raise ForGood(f"input {asset.identifier!r} was not stored")
        return path

    def drop_model(self, key: uuid.UUID) -> None:
        """A disabled model leaves the cache (a task that reads it keeps its open files)."""
        (self.models / str(key)).unlink(missing_ok=True)

    def _bring_model(self, asset: InputAsset, channel: str, stopped: Callable[[], bool]) -> None:
        if asset.owner == self._me:
            raise ForGood(f"the model of input {asset.identifier!r} is missing in our storage")
        target = self.models / str(asset.key)
        beside = self.models / f".{asset.key}.fetched"
        try:
            size = self._exchange.fetch(
                asset.owner,
                channel,
                f"/model/{asset.key}/file/",
                beside,
                asset.checksum,
                asset.salt.encode("ascii"),
                stopped,
            )
        except WrongChecksum:
            raise ForGood(f"the model of input {asset.identifier!r} has a wrong checksum") from None
        except PeerRefused as error:
            if not error.final:
                raise
            raise ForGood(
                f"the owner refuses the model of input {asset.identifier!r} ({error.status_code})"
            ) from None
        self._moved(size)
        beside.chmod(0o444)
        crash_points.reach("cache", "models", "before")
        beside.replace(target)
        crash_points.reach("cache", "models", "after")

    def _bring_opener(self, asset: InputAsset) -> None:
        if not asset.file:
            raise ForGood(f"the opener of input {asset.identifier!r} is not ours")
        with self._fresh(self.openers) as folder:
            digest = hashlib.sha256()
            with (folder / "__init__.py").open("wb") as file:
                for chunk in self._read(asset.file):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != asset.checksum:
                raise ForGood(f"the opener of input {asset.identifier!r} has a wrong checksum")
            _place(folder, self.openers / str(asset.key))

    def _bring_sample(self, asset: InputAsset, pulse: Callable[[], None]) -> None:
        with self._fresh(self.samples) as folder:
            content = folder / "content"
            content.mkdir(mode=0o700)
            if asset.folder:
                source = Path(asset.folder)
                if source.is_symlink() or not source.is_dir():
                    raise ForGood(f"the folder of data sample {asset.key} is not there")
                copy = partial(_copy, pulse=pulse)
                shutil.copytree(
                    source, content, symlinks=True, dirs_exist_ok=True, copy_function=copy
                )
                checksum = folder_hash(content, pulse)
            elif asset.file:
                try:
                    checksum = unpack(self._local(asset.file), content, pulse=pulse)
                except ArchiveRefused as error:
                    raise ForGood(f"data sample {asset.key} cannot be unpacked: {error}") from None
            else:
                raise ForGood(f"data sample {asset.key} is not ours")
            if asset.checksum and checksum != asset.checksum:
                raise ForGood(f"data sample {asset.key} has a wrong checksum")
            _place(content, self.samples / str(asset.key))

    def _local(self, file: str) -> Path:
        try:
            return self._storage.local_path(file)
        except StoredFileMissing:
            raise ForGood("an input's file is missing in our storage") from None

    def _read(self, file: str) -> Iterator[bytes]:
        try:
            return self._storage.read(file)
        except StoredFileMissing:
            raise ForGood("an input's file is missing in our storage") from None

    @contextmanager
    def _fresh(self, parent: Path) -> Iterator[Path]:
        """A new hidden folder beside the targets, gone afterwards."""
        folder = parent / f".{uuid.uuid4().hex}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            _writable(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def _lock(self, key: uuid.UUID) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())


def _copy(source: str, target: str, pulse: Callable[[], None]) -> str:
    """A regular file's content in pieces; modes are `_place`'s."""
    if not stat.S_ISREG(os.lstat(source).st_mode):
        raise shutil.SpecialFileError(f"{Path(source).name!r} is no regular file")
    with Path(source).open("rb", buffering=0) as reader, Path(target).open("xb") as writer:
        while piece := reader.read(COPIED):
            writer.write(piece)
            pulse()
    return target


def _place(folder: Path, target: Path) -> None:
    """Make a folder read-only and give it its name; another process may have been first."""
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files:
            if not Path(path, name).is_symlink():
                Path(path, name).chmod(0o444)
        for name in folders:
            if not Path(path, name).is_symlink():
                Path(path, name).chmod(0o555)
    crash_points.reach("cache", target.parent.name, "before")
    try:
        folder.rename(target)  # a folder whose own mode is 0555 could not be renamed
    except OSError:
        if not target.is_dir():
            raise
        return
    crash_points.reach("cache", target.parent.name, "after")
    target.chmod(0o555)


def _writable(folder: Path) -> None:
    for path, folders, _ in os.walk(folder):
        for name in folders:
            with contextlib.suppress(OSError):
                Path(path, name).chmod(0o700)
