"""A registry in memory: blobs and manifests of any repository, with a log-in that tells pulls from pushes."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LOGIN = "Basic " + base64.b64encode(b"me:secret").decode()
TYPE = "application/vnd.oci.image.manifest.v1+json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Contents:
    host: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    pushed: list[str] = field(default_factory=list)

    def add(self, *layers: bytes) -> tuple[str, bytes]:
        """An image with these layers: its digest and manifest."""
        config = json.dumps({"config": {"Entrypoint": ["python3", "f.py"]}}).encode()
        parts = [config, *layers]
        self.blobs |= {digest_of(part): part for part in parts}
        names = [{"digest": digest_of(part), "size": len(part)} for part in parts]
        manifest = json.dumps({"mediaType": TYPE, "config": names[0], "layers": names[1:]}).encode()
        self.manifests[digest_of(manifest)] = manifest
        return digest_of(manifest), manifest


class _Handler(BaseHTTPRequestHandler):
    contents: Contents

    def do_GET(self) -> None:
        if self.path.startswith("/token?"):
            scope = parse_qs(urlsplit(self.path).query)["scope"][0]
            allowed = self.headers.get("Authorization") == LOGIN
            self._send(200 if allowed else 401, json.dumps({"token": scope}).encode())
        elif self._may("pull"):
            name = self.path.rpartition("/")[2]
            store = self.contents.blobs if "/blobs/" in self.path else self.contents.manifests
            found = store.get(name)
            self._send(404 if found is None else 200, found or b"{}", TYPE)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        if self._may("push"):
            self._send(202, b"", location="/v2/uploads/1?state=x")

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._may("push"):
            return
        parts = urlsplit(self.path)
        if "/manifests/" in parts.path:
            self.contents.manifests[parts.path.rpartition("/")[2]] = content
        else:
            query = parse_qs(parts.query)
            assert query["state"] == ["x"]
            if query["digest"] != [digest_of(content)]:
                self._send(400, b"{}")
                return
            self.contents.blobs[digest_of(content)] = content
            self.contents.pushed.append(digest_of(content))
        self._send(201, b"")

    def _may(self, what: str) -> bool:
        if what in self.headers.get("Authorization", ""):
            return True
        self._send(401, b"{}", scope="pull" if what == "pull" else "pull,push")
        return False

    def _send(
        self, status: int, content: bytes, kind: str = "x/y", location: str = "", scope: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if location:
            self.send_header("Location", location)
        if scope:
            realm = f"http://{self.headers['Host']}/token"
            self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",scope="{scope}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent."""


@contextmanager
def small_registry() -> Iterator[Contents]:
    class Handler(_Handler):
        contents = Contents()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Handler.contents.host = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield Handler.contents
    finally:
        server.shutdown()
        server.server_close()
