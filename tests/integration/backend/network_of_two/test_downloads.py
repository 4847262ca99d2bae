"""Every route that gives a file: ranges, conditions, resumption; at the owner and through the other one."""

import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text

from backend.assets.apply import apply_events
from backend.assets.functions import events as functions
from backend.fixtures.story import key, uuid
from backend.fixtures.writing import write_sample
from backend.settings import PeerSettings
from protos.orchestrator import common_pb2, event_pb2
from tests.integration.backend.assets.test_result_downloads import story
from tests.integration.backend.network_of_two.assets import post_data_manager, post_function
from tests.integration.backend.network_of_two.conftest import Network, Organization, eventually

LAYER = b"a layer of an image, " * 50
WEIGHTS = b"weights of a model, " * 50
TASK_LOG = "Traceback: ü\n".encode() * 50
BUILD_LOG = b"pip: no such package\n" * 50
MANIFEST = orjson.dumps(
    {"schema": 1, "layers": [{"digest": f"sha256:{hashlib.sha256(LAYER).hexdigest()}"}]}
)


@dataclass(frozen=True)
class Held:
    """Where the files of organization 1 are read, at any of the two."""

    paths: dict[str, str]


def _results(one: Organization) -> None:
    """A model and two logs whose rows and files are organization 1's."""
    for name, content, table in (
        ("model", WEIGHTS, "model_file"),
        ("b", TASK_LOG, "log_file"),
        ("broken", BUILD_LOG, "log_file"),
    ):
        with one.node.storage.writer() as writer:
            writer.write(content)
            writer.commit(f"results/{key(name)}")
        with one.node.database.transaction() as session:
            more = "'m'" if table == "model_file" else "'t', 'l'"
            session.connection().execute(
                text(
                    f"INSERT INTO {table} VALUES (:key, 'mychannel', {more}, :file, 'x', 7, now())"
                ),
                {"key": uuid(name), "file": f"results/{key(name)}"},
            )


def _image(network: Network, function: str) -> None:
    """An image of one layer in organization 1's store; both know the manifest's checksum."""
    images = network.one.node.settings.MEDIA_ROOT / "images"
    for folder in ("manifests", "layers"):
        (images / folder).mkdir(parents=True)
    (images / "layers" / f"{hashlib.sha256(LAYER).hexdigest()}.tar").write_bytes(LAYER)
    checksum = hashlib.sha256(MANIFEST).hexdigest()
    (images / "manifests" / f"{checksum}.json").write_bytes(MANIFEST)
    stored = network.one.node.ledger.on("mychannel").function(function)
    stored.image.checksum = checksum
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


@pytest.fixture(scope="module")
def held(network: Network) -> Held:
    function = str(post_function(network.one).json()["key"])
    manager = str(post_data_manager(network.one).json()["key"])
    for path in (f"/function/{function}/", f"/data_manager/{manager}/"):
        eventually(lambda path=path: network.two.get(path).status_code == 200)  # type: ignore[misc]
    told = story()
    for event in told.events:
        if event.WhichOneof("asset") == "compute_task":
            event.compute_task.logs_permission.authorized_ids.append("MyOrg2MSP")
    for organization in (network.one, network.two):
        with organization.node.database.transaction() as session:
            apply_events(session, "mychannel", told.events)
    _results(network.one)
    _image(network, function)
    layer = hashlib.sha256(LAYER).hexdigest()
    return Held(
        {
            "function archive": f"/function/{function}/file/",
            "function description": f"/function/{function}/description/",
            "image manifest": f"/function/{function}/image/",
            "image layer": f"/function/{function}/image/?layer=sha256:{layer}",
            "opener": f"/data_manager/{manager}/opener/",
            "dataset description": f"/data_manager/{manager}/description/",
            "model": f"/model/{key('model')}/file/",
            "log of a task": f"/task/{key('b')}/logs/",
            "log of a build by a task": f"/task/{key('c')}/logs/",
            "log by its address": f"/logs/{key('b')}/file/",
            "log of a build by its address": f"/logs/{key('broken')}/file/",
        }
    )


FILES = (
    *("function archive", "function description", "image manifest", "image layer"),
    *("opener", "dataset description", "model"),
    *("log of a task", "log of a build by a task"),
    *("log by its address", "log of a build by its address"),
)
Read = Callable[..., httpx.Response]


READS = [*((name, who) for name in FILES for who in ("one", "two")), ("csv", "one")]


@pytest.fixture(params=READS, ids=[f"{name} at {who}" for name, who in READS])
def read(request: pytest.FixtureRequest, network: Network, held: Held) -> Read:
    """`read(headers=…, method=…)`: one file, from its owner or through the other organization."""
    name, who = request.param
    organization: Organization = getattr(network, who)
    if name == "csv":
        write_sample(network.one.node, "mychannel", "org-1")
    path = "/performance/export/" if name == "csv" else held.paths[name]

    def asks(method: str = "GET", **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return organization.client.request(method, organization.url + path, headers=sent)

    return asks


def test_whole_file_tells_how_to_go_on(read: Read) -> None:
    whole = read()
    assert whole.status_code == 200, whole.text
    assert re.fullmatch('"[0-9a-f]{64}"', whole.headers["ETag"])
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert whole.headers["Content-Length"] == str(len(whole.content))
    assert whole.headers["Content-Disposition"].startswith("attachment; filename=")
    assert whole.headers["Access-Control-Expose-Headers"] == "Content-Disposition"
    head = read("HEAD")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("ETag", "Content-Length", "Content-Type", "Content-Disposition"):
        assert head.headers[name] == whole.headers[name], name


def test_file_is_kept_for_one_user_and_asked_for_again(read: Read) -> None:
    """Without this a browser may show a file of yesterday, to whoever logs in next."""
    whole = read()
    tag = whole.headers["ETag"]
    for answer in (whole, read("HEAD"), read(If_None_Match=tag), read(Range="bytes=0-1")):
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert {"Authorization", "Cookie"} <= set(answer.headers["Vary"].split(", "))
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=2-4", slice(2, 5)),
        ("bytes=5-", slice(5, None)),
        ("bytes=-3", slice(-3, None)),
        ("bytes=1-99999999", slice(1, None)),
    ],
)
def test_a_range_is_a_part(read: Read, asked: str, part: slice) -> None:
    content = read().content
    answer = read(Range=asked)
    assert (answer.status_code, answer.content) == (206, content[part])
    first, last, _ = part.indices(len(content))
    assert answer.headers["Content-Range"] == f"bytes {first}-{last - 1}/{len(content)}"
    assert answer.headers["Content-Length"] == str(last - first)


def test_a_range_beyond_the_end_is_416(read: Read) -> None:
    size = len(read().content)
    for asked in (f"bytes={size}-", f"bytes={10 * size}-", f"bytes={size}-{size + 5}", "bytes=-0"):
        answer = read(Range=asked)
        assert answer.status_code == 416, asked
        assert answer.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize(
    "asked", ["bytes=abc", "bytes=5-2", "lines=1-2", "bytes=", "bytes=--1", "bytes=0-1,4-5"]
)
def test_a_senseless_range_or_several_are_ignored(read: Read, asked: str) -> None:
    answer = read(Range=asked)
    assert (answer.status_code, answer.content) == (200, read().content)


def test_a_cut_download_goes_on_with_the_same_file_only(read: Read) -> None:
    whole = read()
    tag, half = whole.headers["ETag"], len(whole.content) // 2
    begun = whole.content[:half]
    rest = read(Range=f"bytes={half}-", If_Range=tag)
    assert (rest.status_code, begun + rest.content) == (206, whole.content)
    for other in ('"another"', f"W/{tag}", "Tue, 01 Jan 2019 00:00:00 GMT"):
        again = read(Range=f"bytes={half}-", If_Range=other)
        assert (again.status_code, again.content) == (200, whole.content), other


def test_what_is_known_is_not_sent_again(read: Read) -> None:
    tag = read().headers["ETag"]
    for known in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        answer = read(If_None_Match=known)
        assert (answer.status_code, answer.content) == (304, b""), known
        assert answer.headers["ETag"] == tag
    assert read(If_None_Match='"another"').status_code == 200
    assert read("HEAD", If_None_Match=tag).status_code == 304
    both = read(If_None_Match=tag, Range="bytes=0-1")
    assert both.status_code == 304


class FormerOwner(BaseHTTPRequestHandler):
    """An organization that knows neither tags nor ranges, and would like to write into our pages."""

    def do_GET(self) -> None:
        self.send_response(200)
        for name, value in {
            "Content-Type": "text/html",
            "Content-Length": str(len(WEIGHTS)),
            "Set-Cookie": "refresh=stolen; Path=/",
            "Access-Control-Allow-Origin": "*",
            "Cache-Control": "public, max-age=1000000",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(WEIGHTS)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Nothing is printed."""


def test_owner_decides_on_bytes_and_not_on_browsers(
    network: Network, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), FormerOwner) as owner:
        threading.Thread(target=owner.serve_forever, daemon=True).start()
        peer = PeerSettings(
            url=f"http://127.0.0.1:{owner.server_port}", outgoing="s21", incoming="x"
        )
        monkeypatch.setattr(network.two.node.exchange, "_stored", lambda *_: peer)
        path = held.paths["model"]
        whole = network.two.get(path)
        tag = whole.headers["ETag"]
        part = network.two.get(path, headers={"Range": "bytes=0-1", "If-Range": tag})
        known = network.two.get(path, headers={"If-None-Match": tag})
        owner.shutdown()
    assert (whole.status_code, whole.content) == (200, WEIGHTS)
    assert whole.headers["Content-Type"] == "application/octet-stream"
    assert whole.headers["Content-Disposition"].startswith("attachment; filename=")
    assert whole.headers["Cache-Control"] == "private, no-cache"
    assert not {"set-cookie", "access-control-allow-origin", "accept-ranges"} & {*whole.headers}
    assert (part.status_code, part.content) == (200, WEIGHTS)
    assert (known.status_code, known.content) == (304, b"")


def test_tag_is_the_ledger_s_checksum(network: Network, held: Held) -> None:
    """By it a cut transfer is resumed and verified, whoever holds the file."""
    for organization in (network.one, network.two):
        for name in ("function archive", "opener", "model"):
            path = held.paths[name]
            asset: dict[str, Any] = organization.get(path.rsplit("/", 2)[0] + "/").json()
            address = asset.get("archive") or asset.get("opener") or asset["address"]
            assert organization.get(path).headers["ETag"] == f'"{address["checksum"]}"', name
