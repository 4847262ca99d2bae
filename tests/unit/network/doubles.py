"""A listening socket and small web servers: what a network meets on its ports."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def listener(port: int) -> Iterator[None]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen(1)
        yield


class _Named(BaseHTTPRequestHandler):
    """Answers every request with its server's name; `status` is what it answers outside the probes."""

    name = ""
    status = 200
    content_type = "application/json"
    own: dict[str, str] = {}  # noqa: RUF012  further headers

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        status = 200 if self.path.endswith("/liveness") else self.status
        body = f'"{self.name}"'.encode()
        self.send_response(status)
        self.send_header("content-type", self.content_type)
        self.send_header("content-length", str(len(body)))
        for name, value in self.own.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815  the base class's names

    def log_message(self, format: str, *words: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def web_server(
    name: str,
    port: int,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Iterator[None]:
    """A server on 127.0.0.1 that answers with `"name"`."""
    attributes = {
        "name": name,
        "status": status,
        "content_type": content_type,
        "own": headers or {},
    }
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Named,), attributes))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
