"""The cache of inputs: whole or not at all, and long work that ends when nobody wants it any more."""

import io
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from backend.assets.archives import folder_hash, unpack
from backend.engine.compute.cache import AssetCache, ForGood
from backend.engine.compute.store import InputAsset
from backend.ports.exchange import Exchange, TransferStopped
from backend.ports.storage import FilesystemStorage
from backend.settings import Settings

ME, CHANNEL = "MyOrg1MSP", "mychannel"
MIB = 1 << 20


@pytest.fixture
def storage(tmp_path: Path) -> FilesystemStorage:
    return FilesystemStorage(tmp_path / "medias")


@pytest.fixture
def cache(tmp_path: Path, storage: FilesystemStorage) -> AssetCache:
    return AssetCache(tmp_path / "cache", ME, storage, Exchange(Settings(MSP_ID=ME)))


def stored_sample(storage: FilesystemStorage, files: dict[str, bytes]) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with storage.writer() as writer:
        writer.write(buffer.getvalue())
        writer.commit("data_samples/one")
    return "data_samples/one"


def sample(
    key: UUID, checksum: str = "", file: str | None = None, folder: str | None = None
) -> InputAsset:
    return InputAsset(
        *("datasamples", "ASSET_DATA_SAMPLE", True, key, ME),
        checksum=checksum, file=file, folder=folder,
    )  # fmt: skip


def after(calls: int) -> Callable[[], bool]:
    """Nobody wants it any more from the next call on."""
    asked = iter(range(calls))
    return lambda: next(asked, None) is None


def left(cache: AssetCache) -> list[str]:
    return sorted(path.name for path in cache.samples.iterdir())


def test_a_stored_sample_is_unpacked_checked_and_read_only(
    cache: AssetCache, storage: FilesystemStorage, tmp_path: Path
) -> None:
    same = tmp_path / "same"
    same.mkdir()
    (same / "renamed.bin").write_bytes(b"x" * 3 * MIB)
    (same / "b.txt").write_bytes(b"two")
    file = stored_sample(storage, {"a.bin": b"x" * 3 * MIB, "below/b.txt": b"two"})
    path = cache.bring(sample(uuid4(), folder_hash(same), file), CHANNEL)
    assert (path / "below" / "b.txt").read_bytes() == b"two"
    assert (path / "below" / "b.txt").stat().st_mode & 0o222 == 0


def test_a_sample_of_another_content_is_refused_and_leaves_nothing(
    cache: AssetCache, storage: FilesystemStorage
) -> None:
    file = stored_sample(storage, {"a.bin": b"x"})
    with pytest.raises(ForGood, match="wrong checksum"):
        cache.bring(sample(uuid4(), "0" * 64, file), CHANNEL)
    assert left(cache) == []


@pytest.mark.parametrize("pieces", [0, 1, 5])
def test_unpacking_ends_between_two_pieces_and_leaves_nothing(
    cache: AssetCache, storage: FilesystemStorage, pieces: int
) -> None:
    file = stored_sample(storage, {"a.bin": b"x" * 8 * MIB})
    with pytest.raises(TransferStopped):
        cache.bring(sample(uuid4(), "", file), CHANNEL, after(pieces))
    assert left(cache) == []


@pytest.mark.parametrize("pieces", [0, 3, 8, 20])
def test_copying_and_hashing_a_folder_of_the_machine_end_too(
    cache: AssetCache, tmp_path: Path, pieces: int
) -> None:
    folder = tmp_path / "servermedias" / "big"
    folder.mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"x" * 8 * MIB)
    with pytest.raises(TransferStopped):
        cache.bring(
            sample(uuid4(), folder_hash(folder), folder=str(folder)), CHANNEL, after(pieces)
        )
    assert left(cache) == []


def test_a_folder_of_the_machine_is_copied_with_its_layout(
    cache: AssetCache, tmp_path: Path
) -> None:
    folder = tmp_path / "servermedias" / "small"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "a.txt").write_bytes(b"one")
    path = cache.bring(sample(uuid4(), folder_hash(folder), folder=str(folder)), CHANNEL)
    assert (path / "below" / "a.txt").read_bytes() == b"one"


def test_a_folder_that_changed_after_its_registration_is_refused(
    cache: AssetCache, tmp_path: Path
) -> None:
    folder = tmp_path / "servermedias" / "changed"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"one")
    checksum = folder_hash(folder)
    (folder / "a.txt").write_bytes(b"two")
    with pytest.raises(ForGood, match="wrong checksum"):
        cache.bring(sample(uuid4(), checksum, folder=str(folder)), CHANNEL)


class SlowUnpack:
    """Unpacks when told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *given: Any, **named: Any) -> str:
        self.begun.set()
        assert self.go_on.wait(30)
        return unpack(*given, **named)


def test_who_waits_for_the_same_asset_may_stop_waiting(
    cache: AssetCache, storage: FilesystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = sample(uuid4(), "", stored_sample(storage, {"a.bin": b"x"}))
    slow = SlowUnpack()
    monkeypatch.setattr("backend.engine.compute.cache.unpack", slow)
    first = threading.Thread(target=cache.bring, args=(asset, CHANNEL))
    first.start()
    assert slow.begun.wait(30)
    with pytest.raises(TransferStopped):
        cache.bring(asset, CHANNEL, lambda: True)
    slow.go_on.set()
    first.join(30)
    assert left(cache) == [str(asset.key)]


class CountedExchange(Exchange):
    """Every fetch brings the same bytes, and the first one takes until all have asked."""

    def __init__(self, waiting: threading.Event) -> None:
        super().__init__(Settings(MSP_ID=ME))
        self.fetches: list[str] = []
        self._waiting = waiting

    def fetch(self, owner: str, channel: str, path: str, target: Path, *given: object) -> int:
        self.fetches.append(path)
        assert self._waiting.wait(30)
        target.write_bytes(b"weights")
        return 7


def test_a_model_that_many_tasks_ask_for_at_once_is_fetched_once(
    tmp_path: Path, storage: FilesystemStorage
) -> None:
    waiting, moved = threading.Event(), list[int]()
    exchange = CountedExchange(waiting)
    cache = AssetCache(tmp_path / "cache", ME, storage, exchange, moved.append)
    model = InputAsset("shared", "ASSET_MODEL", False, uuid4(), "MyOrg2MSP", checksum="c", salt="t")
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(cache.bring(model, CHANNEL))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    waiting.set()
    for thread in threads:
        thread.join(30)
    assert paths == [tmp_path / "cache" / "models" / str(model.key)] * 8
    assert exchange.fetches == [f"/model/{model.key}/file/"]
    assert moved == [7]


def test_different_models_come_side_by_side(tmp_path: Path, storage: FilesystemStorage) -> None:
    waiting = threading.Event()
    exchange = CountedExchange(waiting)
    cache = AssetCache(tmp_path / "cache", ME, storage, exchange)
    threads = []
    for _ in range(3):
        model = InputAsset("m", "ASSET_MODEL", False, uuid4(), "MyOrg2MSP", checksum="c", salt="t")
        threads.append(threading.Thread(target=cache.bring, args=(model, CHANNEL)))
        threads[-1].start()
    deadline = threading.Event()
    for _ in range(1_000):
        if len(exchange.fetches) == 3:
            break
        deadline.wait(0.02)
    assert len(exchange.fetches) == 3, "one that takes long stops no other"
    waiting.set()
    for thread in threads:
        thread.join(30)
