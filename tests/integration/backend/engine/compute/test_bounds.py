"""Limits of the stores on disk: what goes, what stays because somebody needs it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from backend.engine.compute.ahead import AheadStore, Kept
from backend.engine.compute.bounds import Bounds
from backend.engine.compute.last_use import LastUse
from backend.engine.compute.queue import NewWork, WorkQueue
from backend.engine.compute.tables import Kind
from backend.engine.images.manifest import Layer, compose
from backend.kit.database import Database
from backend.monitoring.counters import Counters
from backend.settings import Settings


class LongAgo(LastUse):
    """Everything was used an hour ago, except what `touch` says."""

    def of(self, path: Path) -> float:
        moment = super().of(path)
        return moment if str(path) in self._moments else time.monotonic() - 3600


class Stores:
    def __init__(self, database: Database, media: Path) -> None:
        self.database = database
        self.media = media
        self.used = LongAgo()
        self.counters = Counters(database)

    def bounds(self, touch: Callable[[], None] = lambda: None, **limits: int) -> Bounds:
        settings = Settings(MEDIA_ROOT=self.media, IMAGE_BUILD_TIMEOUT=60, ZYGOTES_IDLE_S=60)
        settings = settings.model_copy(update=limits)
        return Bounds(settings, self.database, self.used, self.counters, touch)

    def model(self, size: int = 1000) -> Path:
        folder = self.media / "cache" / "models"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / str(uuid4())
        path.write_bytes(b"x" * size)
        path.chmod(0o444)
        return path

    def sample(self, size: int = 1000) -> Path:
        path = self.media / "cache" / "data_samples" / str(uuid4())
        (path / "inner").mkdir(parents=True)
        (path / "inner" / "data").write_bytes(b"x" * size)
        (path / "inner").chmod(0o555)
        path.chmod(0o555)
        return path

    def layer(self, digest: str, *, age_s: float = 7200, size: int = 1000) -> Path:
        folder = self.media / "images" / "layers"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{digest}.tar"
        path.write_bytes(b"x" * size)
        moment = time.time() - age_s
        os.utime(path, (moment, moment))
        return path

    def environment(self, size: int = 1000) -> Path:
        path = self.media / "images" / "unpacked" / uuid4().hex
        path.mkdir(parents=True)
        (path / "file").write_bytes(b"x" * size)
        path.chmod(0o555)
        return path

    def offered(self, **offer: Any) -> None:
        """A ready task whose lease names these."""
        with self.database.transaction() as session:
            WorkQueue(session).add([NewWork(Kind.TASK, uuid4(), "mychannel", uuid4(), offer=offer)])

    def kept(self, **offer: Any) -> None:
        """A lease kept for a task that comes next, naming these."""
        with self.database.transaction() as session:
            AheadStore.of(session).keep([Kept(uuid4(), "mychannel", uuid4(), offer)])


@pytest.fixture
def stores(database: Database, tmp_path: Path) -> Stores:
    return Stores(database, tmp_path)


def test_assets_go_by_their_last_use_and_those_of_tasks_stay(stores: Stores) -> None:
    named, next_one, old, young = stores.sample(), stores.sample(), stores.sample(), stores.model()
    stores.used.touch(young)
    stores.offered(inputs=[{"path": str(named)}])
    stores.kept(inputs=[{"path": str(next_one)}])
    stores.bounds(CACHE_MAX_BYTES=3500).enforce()
    there = [path.exists() for path in (named, next_one, old, young)]
    assert there == [True, True, False, True]
    assert not [path for path in old.parent.iterdir() if path.name.startswith(".")]
    stores.counters.flush(now=True)
    with stores.database.reading() as connection:
        value = connection.execute(text("SELECT value FROM metric_counter")).scalar_one()
    assert value == 1000


def test_what_is_here_of_a_task_that_waits_for_the_rest_stays(stores: Stores) -> None:
    waiting, old = stores.model(), stores.model()
    stores.bounds(lambda: stores.used.touch(waiting), CACHE_MAX_BYTES=1500).enforce()
    assert waiting.exists()
    assert not old.exists()


class HandsOut:
    """Removes as `bounds` does, and meanwhile somebody uses the others of `paths`."""

    def __init__(self, bounds: Bounds, used: LastUse, paths: list[Path]) -> None:
        self._remove, self._used, self._paths = bounds._remove, used, paths

    def __call__(self, path: Path) -> None:
        self._remove(path)
        self._used.touch(*(other for other in self._paths if other != path))


def test_what_is_handed_out_while_others_are_removed_stays(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [stores.model(), stores.model()]
    bounds = stores.bounds(CACHE_MAX_BYTES=500)
    monkeypatch.setattr(bounds, "_remove", HandsOut(bounds, stores.used, paths))
    bounds.enforce()
    assert sorted(path.exists() for path in paths) == [False, True]


def test_within_the_limit_nothing_goes(stores: Stores) -> None:
    paths = [stores.sample(), stores.model(), stores.layer("a" * 64), stores.environment()]
    stores.bounds().enforce()
    assert all(path.exists() for path in paths)


def test_images_of_our_own_functions_and_of_tasks_stay_others_go(stores: Stores) -> None:
    own, foreign, fresh = (stores.layer(c * 64) for c in "abc")
    now = time.time()
    os.utime(fresh, (now, now))
    manifest = compose(
        python="3.11",
        env={},
        workdir="/",
        entrypoint=("python3", "f.py"),
        layers=(Layer(f"sha256:{'a' * 64}", 1000, True),),
    )
    folder = stores.media / "images" / "manifests"
    folder.mkdir(parents=True)
    (folder / f"{manifest.digest}.json").write_bytes(manifest.content)
    with stores.database.transaction() as session:
        session.connection().execute(
            text(
                "INSERT INTO function_image (function_key, channel, checksum, creation_date) "
                "VALUES (:key, 'mychannel', :checksum, now())"
            ),
            {"key": uuid4(), "checksum": manifest.digest},
        )
    root, upper, idle = (stores.environment() for _ in range(3))
    stores.offered(environment={"root": str(root), "layers": [str(upper)]}, inputs=[])
    stores.bounds(IMAGES_MAX_BYTES=1).enforce()
    there = [path.exists() for path in (own, foreign, fresh, root, upper, idle)]
    assert there == [True, False, True, True, True, False]


def test_the_package_cache_goes_whole_but_not_during_a_build(stores: Stores) -> None:
    folder = stores.media / "images" / "uv-cache"
    folder.mkdir(parents=True)
    (folder / "wheel").write_bytes(b"x" * 1000)
    with stores.database.transaction() as session:
        queue = WorkQueue(session)
        queue.add([NewWork(Kind.BUILD, uuid4(), "mychannel")])
        build = queue.claim([Kind.BUILD], uuid4())
    assert build is not None
    stores.bounds(PACKAGES_MAX_BYTES=999).enforce()
    assert folder.exists()
    with stores.database.transaction() as session:
        WorkQueue(session).settle(build)
    stores.bounds(PACKAGES_MAX_BYTES=999).enforce()
    assert not folder.exists()


def test_what_a_running_build_found_at_its_begin_stays(stores: Stores) -> None:
    found, before = stores.layer("a" * 64, age_s=7200), stores.layer("b" * 64, age_s=20_000)
    with stores.database.transaction() as session:
        queue = WorkQueue(session)
        queue.add([NewWork(Kind.BUILD, uuid4(), "mychannel")])
        build = queue.claim([Kind.BUILD], uuid4())
        session.connection().execute(text("UPDATE work SET changed = now() - interval '3 hours'"))
    assert build is not None
    bounds = stores.bounds(IMAGES_MAX_BYTES=1, IMAGE_BUILD_TIMEOUT=0)
    bounds.enforce()
    assert (found.exists(), before.exists()) == (True, False)
    with stores.database.transaction() as session:
        WorkQueue(session).settle(build)
    bounds.enforce()
    assert not found.exists()


def test_what_a_cut_fetch_left_goes_after_a_day(stores: Stores) -> None:
    kept = stores.model()
    old, young = kept.with_name(".old.part"), kept.with_name(".young.part")
    for path in (old, young):
        path.write_text(json.dumps("x"))
    os.utime(old, (0, 0))
    stores.bounds().enforce()
    assert (kept.exists(), old.exists(), young.exists()) == (True, False, True)
