"""A stand-in for an API server: it answers requests from a script, and keeps what it was asked."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kubernetes import client

from kuberay.transport import Connection


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    content_type: str | None
    body: Any
    authorization: str | None = None


@dataclass
class Answer:
    """A status and an object, or the objects of a stream, which `broken` ends without its last chunk."""

    status: int = 200
    body: Any = None
    stream: list[dict[str, Any]] | None = None
    broken: bool = False


@dataclass
class ApiServer:
    answer: Callable[[Request], Answer]
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> "ApiServer":
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                data = self.rfile.read(length)
                parts = urlsplit(self.path)
                request = Request(
                    self.command,
                    parts.path,
                    dict(parse_qsl(parts.query)),
                    self.headers.get("Content-Type"),
                    json.loads(data) if data else None,
                    self.headers.get("Authorization"),
                )
                owner.requests.append(request)
                self.give(owner.answer(request))

            def give(self, answer: Answer) -> None:
                self.send_response(answer.status)
                if answer.stream is None:
                    data = json.dumps(answer.body).encode()
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                    return
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for item in answer.stream:
                    line = json.dumps(item).encode() + b"\n"
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                if answer.broken:
                    self.close_connection = True
                else:
                    self.wfile.write(b"0\r\n\r\n")

            do_GET = do_POST = do_PATCH = do_DELETE = handle_one  # noqa: N815

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def connection(self) -> Connection:
        configuration = client.Configuration()
        configuration.host = self.url
        configuration.proxy = None
        return Connection(client.ApiClient(configuration), timeout_s=5)


def status(code: int, reason: str, message: str = "refused") -> Answer:
    return Answer(code, {"kind": "Status", "code": code, "reason": reason, "message": message})


def item(name: str, version: int, **fields: Any) -> dict[str, Any]:
    meta = {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": meta, **fields}
