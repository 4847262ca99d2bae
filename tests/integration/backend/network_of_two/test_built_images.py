"""Images that were built in a registry: from one organization's registry to the other's, by their APIs."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from backend.assets.functions import events as functions
from backend.engine.images.published import ImagesOfOthers, blobs, publish
from backend.engine.images.transfer import ImageForGood
from backend.ports.registry import Registry
from backend.ports.registry.client import Login
from protos.orchestrator import common_pb2, event_pb2
from tests.integration.backend.network_of_two.assets import post_function
from tests.integration.backend.network_of_two.conftest import Network, eventually
from tests.integration.backend.ports.small_registry import Contents, digest_of, small_registry

BASE, CODE = b"a base layer " * 5000, b"the code"
REPOSITORY = "org/functions"


@pytest.fixture
def theirs() -> Iterator[Contents]:
    with small_registry() as contents:
        yield contents


@pytest.fixture
def ours() -> Iterator[Contents]:
    with small_registry() as contents:
        yield contents


@pytest.fixture
def built(
    network: Network, theirs: Contents, monkeypatch: pytest.MonkeyPatch
) -> tuple[UUID, str, bytes]:
    """A function of organization 1 whose image its builder has published."""
    monkeypatch.setattr(network.one.node.settings, "BUILDER", "kaniko")
    function = str(post_function(network.one).json()["key"])
    eventually(lambda: network.two.get(f"/function/{function}/").status_code == 200)
    digest, manifest = theirs.add(BASE, CODE)
    bare = digest.removeprefix("sha256:")
    registry = opened(theirs)
    publish(registry, REPOSITORY, bare, network.one.node.storage)
    registry.close()
    stored = network.one.node.ledger.on("mychannel").function(function)
    stored.image.checksum = bare
    stored.image.storage_address = f"{network.one.url}/function/{function}/image/"
    event = event_pb2.Event(
        channel="mychannel",
        event_kind=event_pb2.EVENT_ASSET_UPDATED,
        asset_kind=common_pb2.ASSET_FUNCTION,
        function=stored,
    )
    for organization in (network.one, network.two):
        with organization.node.database.transaction() as session:
            functions.apply(session, event)
    return UUID(function), digest, manifest


def opened(contents: Contents) -> Registry:
    return Registry(contents.host, scheme="http", login=Login("me", "secret"))


def test_only_what_is_missing_travels_and_the_image_is_the_same(
    network: Network, built: tuple[UUID, str, bytes], ours: Contents, tmp_path: Path
) -> None:
    function, digest, manifest = built
    ours.blobs[digest_of(BASE)] = BASE
    moved: list[int] = []
    registry = opened(ours)
    others = ImagesOfOthers(registry, REPOSITORY, network.two.node.exchange, tmp_path, moved.append)
    bare = digest.removeprefix("sha256:")
    others.bring(function, "MyOrg1MSP", "mychannel", bare, lambda: False)
    assert ours.manifests == {digest: manifest}
    assert set(ours.pushed) == set(blobs(manifest)) - {digest_of(BASE)}
    assert sum(moved) < len(BASE)
    image = registry.image(REPOSITORY, digest)
    assert image is not None
    assert registry.config(image)["Entrypoint"] == ["python3", "f.py"]
    assert list(tmp_path.iterdir()) == []
    registry.close()


def test_a_layer_of_another_image_is_not_given(
    network: Network, built: tuple[UUID, str, bytes]
) -> None:
    function, digest, manifest = built
    path = f"/function/{function}/image/"
    assert network.one.get(path).content == manifest
    assert network.two.get(path).content == manifest
    layer = network.one.get(f"{path}?layer={digest_of(CODE)}")
    assert (layer.status_code, layer.content) == (200, CODE)
    assert network.one.get(f"{path}?layer={digest}").status_code == 404


def test_an_owner_who_has_no_image_is_given_up(
    network: Network, built: tuple[UUID, str, bytes], ours: Contents, tmp_path: Path
) -> None:
    function, _, _ = built
    for name in list(network.one.node.storage.keys("images")):
        network.one.node.storage.delete(name)
    others = ImagesOfOthers(opened(ours), REPOSITORY, network.two.node.exchange, tmp_path)
    with pytest.raises(ImageForGood, match="refuses"):
        others.bring(function, "MyOrg1MSP", "mychannel", "0" * 64, lambda: False)
    assert ours.pushed == []


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b'{"config": {}}', b'{"config": {"digest": "../../x"}, "layers": []}'],
)
def test_what_is_no_image_is_given_up(manifest: bytes) -> None:
    with pytest.raises(ImageForGood):
        blobs(manifest)
