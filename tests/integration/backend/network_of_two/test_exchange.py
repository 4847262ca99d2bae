"""Files between organizations: proxied for users, fetched for tasks, resumed after cuts (18, 19)."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from backend.assets.functions import events
from backend.kit.errors import PeerUnreachable
from backend.ports.exchange import Exchange, PeerRefused, WrongChecksum
from backend.settings import PeerSettings
from protos.orchestrator import common_pb2, event_pb2
from tests.integration.backend.network_of_two.assets import (
    FUNCTION,
    PRIVATE,
    post_function,
)
from tests.integration.backend.network_of_two.conftest import Network, Organization, eventually

NOISE = os.urandom(3_000_000)


@pytest.fixture(scope="module")
def function(network: Network) -> str:
    """A function of organization 1, known to organization 2, with an image of two layers in the store."""
    key = str(post_function(network.one).json()["key"])
    eventually(lambda: network.two.get(f"/function/{key}/").status_code == 200)
    return key


@pytest.fixture(scope="module")
def image(network: Network, function: str) -> dict[str, str]:
    """Digests of the manifest and of its one layer; both organizations know the manifest's."""
    images = network.one.node.settings.MEDIA_ROOT / "images"
    (images / "manifests").mkdir(parents=True)
    (images / "layers").mkdir()
    layer = hashlib.sha256(NOISE).hexdigest()
    (images / "layers" / f"{layer}.tar").write_bytes(NOISE)
    other = hashlib.sha256(b"another function's").hexdigest()
    (images / "layers" / f"{other}.tar").write_bytes(b"another function's")
    manifest = orjson.dumps(
        {"schema": 1, "layers": [{"digest": f"sha256:{layer}", "size": len(NOISE)}]}
    )
    checksum = hashlib.sha256(manifest).hexdigest()
    (images / "manifests" / f"{checksum}.json").write_bytes(manifest)
    stored = network.one.node.ledger.on("mychannel").function(function)
    address = common_pb2.Addressable(
        checksum=checksum, storage_address=f"{network.one.url}/function/{function}/image/"
    )
    stored.image.CopyFrom(address)
    event = event_pb2.Event(
        id="1",
        channel="mychannel",
        event_kind=event_pb2.EVENT_ASSET_UPDATED,
        asset_kind=common_pb2.ASSET_FUNCTION,
        function=stored,
    )
    for organization in (network.one, network.two):
        with organization.node.database.transaction() as session:
            events.apply(session, event)
    return {"manifest": checksum, "layer": layer, "other": other}


def test_manifest_and_layers_are_proxied(
    network: Network, function: str, image: dict[str, str]
) -> None:
    path = f"/function/{function}/image/"
    for organization in (network.one, network.two):
        manifest = organization.get(path)
        assert manifest.status_code == 200, manifest.text
        assert hashlib.sha256(manifest.content).hexdigest() == image["manifest"]
        layer = organization.get(f"{path}?layer=sha256:{image['layer']}")
        assert layer.content == NOISE
        foreign = organization.get(f"{path}?layer=sha256:{image['other']}")
        assert foreign.status_code == 404
        assert organization.get(f"{path}?layer=../../x").status_code == 400


def test_ranges_and_head(network: Network, function: str, image: dict[str, str]) -> None:
    path = f"/function/{function}/image/?layer=sha256:{image['layer']}"
    for organization in (network.one, network.two):
        part = organization.get(path, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, NOISE[10:20])
        etag = part.headers["ETag"]
        assert etag == f'"{image["layer"]}"'
        rest = organization.get(path, headers={"Range": "bytes=2999990-", "If-Range": etag})
        assert (rest.status_code, rest.content) == (206, NOISE[2999990:])
        whole = organization.get(path, headers={"Range": "bytes=5-", "If-Range": '"old"'})
        assert (whole.status_code, len(whole.content)) == (200, len(NOISE))
        beyond = organization.get(path, headers={"Range": "bytes=9999999-"})
        assert beyond.status_code == 416
        head = organization.client.head(organization.url + path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == str(len(NOISE))


def test_fetch_verifies_and_salts(
    network: Network, function: str, image: dict[str, str], tmp_path: Path
) -> None:
    exchange = network.two.node.exchange
    path = f"function/{function}/image/?layer=sha256:{image['layer']}"
    arguments = ("MyOrg1MSP", "mychannel", path)
    size = exchange.fetch(*arguments, tmp_path / "layer", image["layer"])
    assert size == len(NOISE)
    assert (tmp_path / "layer").read_bytes() == NOISE
    salted = hashlib.sha256(NOISE + b"task key").hexdigest()
    exchange.fetch(*arguments, tmp_path / "model", salted, b"task key")
    with pytest.raises(WrongChecksum):
        exchange.fetch(*arguments, tmp_path / "wrong", "0" * 64)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer", "model"]


def test_fetch_is_refused_with_the_owners_status(network: Network, tmp_path: Path) -> None:
    key = post_function(network.one, {**FUNCTION, "permissions": PRIVATE}).json()["key"]
    exchange = network.two.node.exchange
    statuses = {
        f"function/{key}/file/": 403,
        f"function/{UUID(int=0)}/file/": 404,
        f"function/{key}/image/": 403,
    }
    for path, status in statuses.items():
        with pytest.raises(PeerRefused) as refused:
            exchange.fetch("MyOrg1MSP", "mychannel", path, tmp_path / "x", "0" * 64)
        assert refused.value.status_code == status
        assert refused.value.final
    with pytest.raises(PeerRefused) as stranger:
        exchange.fetch("MyOrg1MSP", "nochannel", f"function/{key}/file/", tmp_path / "x", "0" * 64)
    assert stranger.value.status_code == 403
    assert list(tmp_path.iterdir()) == []


def _with_peer(organization: Organization, peer: PeerSettings) -> Exchange:
    settings = organization.node.settings
    return Exchange(settings.model_copy(update={"PEERS": {"MyOrg1MSP": peer}}))


def test_wrong_secret_is_401_and_not_final(network: Network, function: str, tmp_path: Path) -> None:
    peer = PeerSettings(url=network.one.url, outgoing="wrong", incoming="x")
    with pytest.raises(PeerRefused) as refused:
        _with_peer(network.two, peer).fetch(
            "MyOrg1MSP", "mychannel", f"function/{function}/file/", tmp_path / "x", "0" * 64
        )
    assert (refused.value.status_code, refused.value.final) == (401, False)


def _by_basic(network: Network, path: str, auth: tuple[str, str], channel: str | None) -> Any:
    headers = {} if channel is None else {"Substra-Channel-Name": channel}
    return httpx.get(network.one.url + path, auth=auth, headers=headers, timeout=30)


def test_organizations_and_users_by_basic(network: Network, function: str) -> None:
    path = f"/function/{function}/file/"
    organization = ("MyOrg2MSP", "s21")
    assert _by_basic(network, path, organization, "mychannel").status_code == 200
    missing = _by_basic(network, path, organization, None)
    assert missing.json() == {"detail": "Could not determine channel name"}
    assert _by_basic(network, path, organization, "yourchannel").status_code == 404
    wrong = _by_basic(network, path, ("MyOrg2MSP", "s12"), "mychannel")
    assert (wrong.status_code, wrong.json()) == (401, {"detail": "Invalid username/password."})
    assert _by_basic(network, path, ("org-1", "p@sswr0d44"), None).status_code == 200
    assert _by_basic(network, path, ("org-1", "wrong"), None).status_code == 401
    assert _by_basic(network, "/function/", organization, "mychannel").status_code == 401


@contextmanager
def _cutting(target: str, cuts: int, after: int) -> Iterator[tuple[str, dict[int, int]]]:
    """A relay to `target` that cuts its first connections after some bytes, and counts what it passed on."""
    host, _, port = target.removeprefix("http://").partition("/")[0].partition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    passed: dict[int, int] = {}

    def relay(inside: socket.socket, number: int) -> None:
        with inside, socket.create_connection((host, int(port))) as outside:
            outside.sendall(inside.recv(65536))
            passed[number] = 0
            while data := outside.recv(65536):
                if number < cuts and passed[number] + len(data) > after:
                    break
                inside.sendall(data)
                passed[number] += len(data)

    def serve() -> None:
        number = 0
        while True:
            try:
                inside, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=relay, args=(inside, number), daemon=True).start()
            number += 1

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", passed
    finally:
        listener.close()


def test_cut_transfer_goes_on_where_it_ended(
    network: Network, function: str, image: dict[str, str], tmp_path: Path
) -> None:
    path = f"function/{function}/image/?layer=sha256:{image['layer']}"
    with _cutting(network.one.url, cuts=5, after=500_000) as (relay, passed):
        url = f"{relay}/{network.one.url.rpartition('/')[2]}"
        exchange = _with_peer(network.two, PeerSettings(url=url, outgoing="s21", incoming="x"))
        exchange.fetch("MyOrg1MSP", "mychannel", path, tmp_path / "layer", image["layer"])
    assert (tmp_path / "layer").read_bytes() == NOISE
    assert len(passed) == 6
    assert sum(passed.values()) < len(NOISE) + 6 * 70_000  # at most a piece is sent twice a cut
    assert [file.name for file in tmp_path.iterdir()] == ["layer"]


def test_user_does_not_notice_that_a_transfer_was_cut(
    network: Network, function: str, image: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/function/{function}/image/?layer=sha256:{image['layer']}"
    with _cutting(network.one.url, cuts=3, after=500_000) as (relay, passed):
        url = f"{relay}/{network.one.url.rpartition('/')[2]}"
        peer = PeerSettings(url=url, outgoing="s21", incoming="x")
        monkeypatch.setattr(network.two.node.exchange, "_stored", lambda *_: peer)
        assert network.two.get(path).content == NOISE
        assert len(passed) == 4
    with _cutting(network.one.url, cuts=2, after=500_000) as (relay, passed):
        peer = peer.model_copy(update={"url": f"{relay}/org-1"})
        part = network.two.get(path, headers={"Range": "bytes=1000-2000000"})
        assert (part.status_code, part.content) == (206, NOISE[1000:2000001])
        assert len(passed) == 3


def test_unreachable_owner_is_504_for_users_and_can_be_asked_again(
    network: Network, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = PeerSettings(url="http://127.0.0.1:9/org-1", outgoing="s21", incoming="s12")
    monkeypatch.setattr(network.two.node.exchange, "_stored", lambda *_: dead)
    answer = network.two.get(f"/function/{function}/file/")
    assert answer.status_code == 504
    assert answer.json() == {"detail": "The organization that holds this file cannot be reached"}
    assert "Retry-After" in answer.headers
    with pytest.raises(PeerUnreachable):
        network.two.node.exchange.fetch(
            "MyOrg1MSP", "mychannel", f"function/{function}/file/", tmp_path / "x", "0" * 64
        )


def test_refusal_of_the_owner_passes_through_the_proxy(network: Network) -> None:
    """Organization 2's rows allow it, organization 1's do not: its answer counts."""
    key = post_function(network.one).json()["key"]
    eventually(lambda: network.two.get(f"/function/{key}/").status_code == 200)
    with network.one.node.database.transaction() as session:
        session.connection().exec_driver_sql(
            "UPDATE function SET permissions_process_public = false,"
            f" permissions_process_authorized_ids = '{{}}' WHERE key = '{key}'"
        )
    answer = network.two.get(f"/function/{key}/file/")
    assert (answer.status_code, answer.json()) == (403, {"detail": "Unauthorized"})
