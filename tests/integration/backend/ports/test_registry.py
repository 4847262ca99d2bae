"""A registry's answers: digests are checked, log-ins of both kinds made, and refusals told from outages."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backend.ports.registry import ImageFound, Registry, RegistryRefused, RegistryUnavailable
from backend.ports.registry.client import Login

TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG = json.dumps({"config": {"Entrypoint": ["python3", "function.py"]}}).encode()
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


MANIFEST = json.dumps({"config": {"digest": digest_of(CONFIG)}, "layers": []}).encode()


class Answering(BaseHTTPRequestHandler):
    """`wants`: how to log in. `answers`: status, type and bytes of each path."""

    wants = ""
    answers: dict[str, tuple[int, str, bytes]] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization", "")
        if self.path.startswith("/token?"):
            self._send(200 if sent == BASIC else 401, "application/json", b'{"token": "t"}')
        elif self.wants and sent != (BASIC if self.wants == "basic" else "Bearer t"):
            self._send(401, "application/json", b"{}")
        else:
            self._send(*self.answers.get(self.path, (404, "application/json", b"{}")))

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if status == 401:
            realm = f"http://{self.headers['Host']}/token"
            bearer = f'Bearer realm="{realm}",service="s",scope="repository:a/b:pull"'
            self.send_header(
                "WWW-Authenticate", 'Basic realm="r"' if self.wants == "basic" else bearer
            )
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent."""


@pytest.fixture
def answering() -> Iterator[tuple[type[Answering], str]]:
    class Handler(Answering):
        answers = {  # noqa: RUF012
            "/v2/a/b/manifests/tag": (200, TYPE, MANIFEST),
            f"/v2/a/b/manifests/{digest_of(MANIFEST)}": (200, TYPE, MANIFEST),
            f"/v2/a/b/blobs/{digest_of(CONFIG)}": (200, "application/octet-stream", CONFIG),
        }

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Handler, f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("wants", ["", "basic", "bearer"])
def test_image_and_its_entry_point(answering: tuple[type[Answering], str], wants: str) -> None:
    handler, host = answering
    handler.wants = wants
    registry = Registry(host, scheme="http", login=Login("me", "secret"))
    image = registry.image("a/b", "tag")
    assert image == ImageFound("a/b", digest_of(MANIFEST), TYPE, MANIFEST)
    assert registry.config(image)["Entrypoint"] == ["python3", "function.py"]
    assert registry.image("a/b", digest_of(MANIFEST)) == image
    assert registry.image("a/b", "other") is None
    registry.close()


@pytest.mark.parametrize("wants", ["basic", "bearer"])
def test_strangers_are_refused(answering: tuple[type[Answering], str], wants: str) -> None:
    handler, host = answering
    handler.wants = wants
    with pytest.raises(RegistryRefused):
        Registry(host, scheme="http").image("a/b", "tag")


@pytest.mark.parametrize("status", [412, 429, 500, 503])
def test_what_passes_is_told_as_such(answering: tuple[type[Answering], str], status: int) -> None:
    handler, host = answering
    handler.answers["/v2/a/b/manifests/tag"] = (status, "text/plain", b"scanning")
    with pytest.raises(RegistryUnavailable, match=str(status)):
        Registry(host, scheme="http").image("a/b", "tag")


def test_registry_that_is_away() -> None:
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):
        Registry("127.0.0.1:1", scheme="http").image("a/b", "tag")


@pytest.mark.parametrize(
    "answer",
    [
        (200, "application/vnd.oci.image.index.v1+json", MANIFEST),
        (200, TYPE, b"x" * (5 << 20)),
        (403, TYPE, b""),
    ],
)
def test_what_is_no_image_is_refused(
    answering: tuple[type[Answering], str], answer: tuple[int, str, bytes]
) -> None:
    handler, host = answering
    handler.answers["/v2/a/b/manifests/tag"] = answer
    with pytest.raises(RegistryRefused):
        Registry(host, scheme="http").image("a/b", "tag")


def test_other_bytes_than_their_digest_are_refused(
    answering: tuple[type[Answering], str],
) -> None:
    handler, host = answering
    registry = Registry(host, scheme="http")
    image = registry.image("a/b", "tag")
    assert image is not None
    handler.answers[f"/v2/a/b/manifests/{image.digest}"] = (200, TYPE, MANIFEST + b" ")
    handler.answers[f"/v2/a/b/blobs/{image.config_digest}"] = (200, "x", CONFIG + b" ")
    with pytest.raises(RegistryRefused, match="another manifest"):
        registry.image("a/b", image.digest)
    with pytest.raises(RegistryRefused, match="another configuration"):
        registry.config(image)


def test_log_in_of_a_docker_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    auth = base64.b64encode(b"me:se:cret").decode()
    entries = {"https://r:5000": {"auth": auth}, "x": {"username": "you", "password": "p"}}
    path.write_text(json.dumps({"auths": entries}))
    assert Login.from_docker_config(path, "r:5000") == Login("me", "se:cret")
    assert Login.from_docker_config(path, "x") == Login("you", "p")
    assert Login.from_docker_config(path, "y") is None
