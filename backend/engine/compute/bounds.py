"""Size limits of caches, images and the package cache: the least recently used goes, never what is in use.

In use is what an offered or running task names, what was handed out a short while ago (its offer may not be
committed yet), what is here of a task whose other inputs are on their way, and every layer of an image of our
own functions: nobody else has it.
"""

import os
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import text

from backend.engine.compute.last_use import LastUse
from backend.engine.images.manifest import BadImage, parse
from backend.engine.images.unpacking import remove_tree
from backend.engine.task_logs.kept import KeptLogs
from backend.kit.database import Database
from backend.monitoring.counters import Counters
from backend.settings import Settings

EVERY_S = 60.0
GRACE_S = 120.0
"""What was used so lately is in use, whatever the rows say."""
LEFT_S = 86_400.0
"""Hidden files of fetches that nobody went on with for a day."""
ROOM = 0.9
"""A full store is emptied down to this part of its limit, so that not every new thing costs a pass."""
LOGS_EVERY = 10
"""Passes: kept logs are many small files."""
log = structlog.get_logger()
_NAMED = text("""
    SELECT DISTINCT p.path FROM (
        SELECT offer FROM work WHERE kind = 'task' AND state IN ('ready', 'leased') AND offer IS NOT NULL
        UNION ALL SELECT offer FROM task_ahead) AS w, LATERAL (
        SELECT i ->> 'path' FROM jsonb_array_elements(w.offer -> 'inputs') i
        UNION ALL SELECT w.offer -> 'environment' ->> 'root'
        UNION ALL SELECT jsonb_array_elements_text(w.offer -> 'environment' -> 'layers')) AS p(path)
""")
_OWN = text("SELECT DISTINCT checksum FROM function_image")
_BUILDS = text("SELECT EXISTS (SELECT 1 FROM work WHERE kind = 'build' AND state = 'leased')")
_BUILDING = text("""
    SELECT COALESCE(extract(epoch FROM now() - min(changed)), 0)::float8 FROM work
    WHERE kind = 'build' AND state = 'leased'
""")


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that can be removed whole. `used` is of time.monotonic()."""

    path: Path
    size: int
    used: float


def surplus(
    entries: Sequence[Entry], limit: int, in_use: Collection[str], used_before: float
) -> list[Entry]:
    """What has to go, least recently used first; 0 is no limit. Pure."""
    total = sum(entry.size for entry in entries)
    if not limit or total <= limit:
        return []
    going: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: (entry.used, str(entry.path))):
        if total <= limit * ROOM:
            break
        if str(entry.path) in in_use or entry.used > used_before:
            continue
        going.append(entry)
        total -= entry.size
    return going


class Bounds:
    """Keeps one organization's stores within their limits."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        used: LastUse,
        counters: Counters,
        touch: Callable[[], None] = lambda: None,
    ) -> None:
        """`touch` notes the use of what no offer names yet: inputs of tasks that are being prepared."""
        self._touch = touch
        self._settings = settings
        self._database = database
        self._used = used
        self._counters = counters
        self._cache = settings.MEDIA_ROOT / "cache"
        self._images = settings.MEDIA_ROOT / "images"
        self._sizes: dict[str, int] = {}
        self._kept = KeptLogs(settings.MEDIA_ROOT, settings.TASK_LOG_RETENTION)
        self._passes = 0
        self._last = 0.0

    def turn(self) -> bool:
        """One pass when it is due; never more to do at once."""
        if self._last and time.monotonic() - self._last < EVERY_S:
            return False
        self._last = time.monotonic()
        self.enforce()
        return False

    def enforce(self) -> None:
        """Remove what is too much of each store, and what cut fetches left."""
        self._touch()
        settings = self._settings
        kinds = ("models", "data_samples", "objects")  # objects: copies out of a bucket
        assets = list(self._folders(*(self._cache / kind for kind in kinds)))
        self._shrink("assets", assets, settings.CACHE_MAX_BYTES, self._named, GRACE_S)
        images = [*self._folders(self._images / "unpacked"), *self._layers()]
        # A zygote may hold an environment open until it has been idle for its time; a build needs again
        # what it found at its begin.
        grace_s = max(GRACE_S, 2 * settings.ZYGOTES_IDLE_S, self._building_s() + GRACE_S)
        self._shrink("images", images, settings.IMAGES_MAX_BYTES, self._of_images, grace_s)
        self._packages(self._images / "uv-cache", settings.PACKAGES_MAX_BYTES)
        for folder in (*kinds, "openers", "images"):
            self._leftovers(self._cache / folder)
        if self._passes % LOGS_EVERY == 0:
            self._kept.forget_old()
        self._passes += 1

    def _shrink(
        self,
        store: str,
        entries: Sequence[Entry],
        limit: int,
        in_use: Callable[[], set[str]],
        grace_s: float,
    ) -> None:
        if not limit or sum(entry.size for entry in entries) <= limit:
            return
        for entry in surplus(entries, limit, in_use(), time.monotonic() - grace_s):
            if self._used.since(entry.path, entry.used):
                continue  # handed out since we looked: removing the others took a while
            self._remove(entry.path)
            self._counters.add("substra_storage_evicted_bytes", entry.size, store=store)
            log.info("evicted", store=store, name=entry.path.name, size=entry.size)

    def _remove(self, path: Path) -> None:
        """First its name, so that nobody finds half of it."""
        hidden = path.with_name(f".gone-{uuid.uuid4().hex}")
        try:
            if path.is_dir():
                path.chmod(0o700)  # a folder whose own mode is 0555 could not be renamed
            path.rename(hidden)
        except FileNotFoundError:
            return
        remove_tree(hidden)
        self._used.forget(path)
        self._sizes.pop(str(path), None)

    # ------------------------------------------------------------------ what is there
    def _folders(self, *folders: Path) -> Iterator[Entry]:
        for folder in folders:
            with suppress(FileNotFoundError):
                for path in folder.iterdir():
                    if not path.name.startswith("."):
                        yield Entry(path, self._size(path), self._used.of(path))

    def _layers(self) -> Iterator[Entry]:
        """Layers carry their last use as their time: builds and transfers of any process touch them."""
        now, clock = time.monotonic(), time.time()
        with suppress(FileNotFoundError):
            for path in (self._images / "layers").iterdir():
                with suppress(FileNotFoundError):
                    status = path.stat()
                    yield Entry(path, status.st_size, now - (clock - status.st_mtime))

    def _size(self, path: Path) -> int:
        """Bytes of a file or tree; what is stored never changes, so it is counted once."""
        known = self._sizes.get(str(path))
        if known is None:
            known = self._sizes[str(path)] = tree_size(path)
        return known

    # ------------------------------------------------------------------ what is in use
    def _named(self) -> set[str]:
        with self._database.reading() as connection:
            return {str(path) for path in connection.execute(_NAMED).scalars() if path}

    def _of_images(self) -> set[str]:
        """Named environments, and the layers of our own functions' images."""
        used = self._named()
        with self._database.reading() as connection:
            own = connection.execute(_OWN).scalars().all()
        for digest in own:
            with suppress(FileNotFoundError, BadImage):
                content = (self._images / "manifests" / f"{digest}.json").read_bytes()
                used |= {
                    str(self._images / "layers" / f"{layer.hex}.tar")
                    for layer in parse(content).layers
                }
        return used

    def _building_s(self) -> float:
        """How long the longest of the running builds takes; there may be no limit."""
        with self._database.reading() as connection:
            return float(connection.execute(_BUILDING).scalar_one())

    # ------------------------------------------------------------------ the rest
    def _packages(self, folder: Path, limit: int) -> None:
        """The package cache goes whole, and only while nothing is built: its insides are uv's own."""
        if not limit or not folder.is_dir() or (size := tree_size(folder)) <= limit:
            return
        with self._database.reading() as connection:
            if connection.execute(_BUILDS).scalar_one():
                return
        self._remove(folder)
        self._counters.add("substra_storage_evicted_bytes", size, store="packages")
        log.info("evicted", store="packages", name=folder.name, size=size)

    def _leftovers(self, folder: Path) -> None:
        limit = time.time() - LEFT_S
        for path in _hidden(folder):
            with suppress(OSError):
                if path.lstat().st_mtime < limit:
                    remove_tree(path)


def tree_size(path: Path) -> int:
    """Bytes below a path, links not followed; what vanishes meanwhile counts nothing."""
    with suppress(OSError):
        if not path.is_dir():
            return path.lstat().st_size
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
    return total


def _hidden(folder: Path) -> Iterable[Path]:
    with suppress(FileNotFoundError):
        yield from (path for path in folder.iterdir() if path.name.startswith("."))
