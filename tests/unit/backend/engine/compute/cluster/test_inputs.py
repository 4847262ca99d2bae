"""Inputs that are made ready in the store for pods: once, verified, as plain files and tars."""

import hashlib
import io
import tarfile
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from backend.assets.archives import folder_hash
from backend.engine.compute.cache import AssetCache, ForGood
from backend.engine.compute.cluster.inputs import PodInputs, digest_of
from backend.engine.compute.store import InputAsset
from backend.ports.exchange import Exchange
from backend.ports.storage import FilesystemStorage
from backend.settings import Settings

ME, OTHER, CHANNEL = "MyOrg1MSP", "MyOrg2MSP", "mychannel"


@pytest.fixture
def storage(tmp_path: Path) -> FilesystemStorage:
    return FilesystemStorage(tmp_path / "medias")


@pytest.fixture
def cache(tmp_path: Path, storage: FilesystemStorage) -> AssetCache:
    return AssetCache(tmp_path / "cache", ME, storage, Exchange(Settings(MSP_ID=ME)))


@pytest.fixture
def inputs(storage: FilesystemStorage, cache: AssetCache) -> PodInputs:
    return PodInputs(ME, storage, cache)


def sample_in(folder: Path, key: UUID) -> InputAsset:
    """A sample in a folder of the machine, as servermedias has them."""
    (folder / "deep").mkdir(parents=True)
    (folder / "a.csv").write_text("1,2")
    (folder / "deep" / "b.csv").write_text("3,4")
    (folder / "link").symlink_to("a.csv")
    checksum = folder_hash(folder)
    return InputAsset("x", "ASSET_DATA_SAMPLE", True, key, ME, checksum, folder=str(folder))


def test_a_sample_becomes_a_tar_whose_name_is_its_digest(
    storage: FilesystemStorage, inputs: PodInputs, cache: AssetCache, tmp_path: Path
) -> None:
    asset = sample_in(tmp_path / "sample", uuid4())
    assert inputs.present(asset) is None
    place = inputs.bring(asset, CHANNEL)
    assert inputs.present(asset) == place
    content = b"".join(storage.read(place))
    assert digest_of(place) == hashlib.sha256(content).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert {entry.name for entry in tar} == {".", "./a.csv", "./deep", "./deep/b.csv"}
        assert all(entry.isreg() or entry.isdir() for entry in tar)
    other = PodInputs(ME, storage, cache)
    assert other.bring(asset, CHANNEL) == place
    assert list(storage.keys("staged")) == [place]


def test_a_sample_with_other_bytes_is_given_up(inputs: PodInputs, tmp_path: Path) -> None:
    asset = sample_in(tmp_path / "sample", uuid4())
    (tmp_path / "sample" / "a.csv").write_text("changed")
    with pytest.raises(ForGood, match="wrong checksum"):
        inputs.bring(asset, CHANNEL)


def test_own_files_are_ready_as_they_are(inputs: PodInputs) -> None:
    key = uuid4()
    model = InputAsset("m", "ASSET_MODEL", False, key, ME, "c", "salt", file=f"models/{key}/model")
    assert inputs.present(model) == model.file
    opener = InputAsset("o", "ASSET_DATA_MANAGER", False, key, ME, "c", file="openers/1")
    assert inputs.present(opener) == "openers/1"


def test_a_foreign_model_is_fetched_into_the_store_and_leaves_it(
    storage: FilesystemStorage, inputs: PodInputs, cache: AssetCache
) -> None:
    key = uuid4()
    asset = InputAsset("m", "ASSET_MODEL", False, key, OTHER, "c", "salt")
    (cache.models / str(key)).write_bytes(b"weights")  # as the exchange leaves it
    place = inputs.bring(asset, CHANNEL)
    assert b"".join(storage.read(place)) == b"weights"
    assert not (cache.models / str(key)).exists()
    inputs.drop_model(key)
    assert inputs.present(asset) is None
    assert list(storage.keys("staged")) == []


def test_what_is_missing_for_good_is_said(inputs: PodInputs) -> None:
    asset = InputAsset("m", "ASSET_MODEL", False, uuid4(), ME, "c", "salt")
    with pytest.raises(ForGood, match="missing in our storage"):
        inputs.bring(asset, CHANNEL)
