"""A transfer that nobody wants any more ends in the middle, and the next one goes on from there."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backend.ports.exchange import Exchange, TransferStopped
from backend.settings import PeerSettings, Settings

CONTENT = b"0123456789" * 200_000


class Slow(BaseHTTPRequestHandler):
    """Gives the file by ranges; the first answer pauses in its middle until `go_on`."""

    go_on = threading.Event()
    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range"))
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body[:100_000])
        self.wfile.flush()
        self.go_on.wait(10)
        try:
            self.wfile.write(body[100_000:])
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    Slow.go_on.clear()
    Slow.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    peer = PeerSettings(url=url, outgoing="s12", incoming="s21")
    yield Exchange(Settings(MSP_ID="MyOrg1MSP", PEERS={"MyOrg2MSP": peer}))
    Slow.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_a_stopped_transfer_keeps_what_came(exchange: Exchange, tmp_path: Path) -> None:
    target, checksum = tmp_path / "model", hashlib.sha256(CONTENT).hexdigest()

    def some_came() -> bool:
        return any(path.stat().st_size for path in tmp_path.iterdir())

    with pytest.raises(TransferStopped):
        exchange.fetch(
            "MyOrg2MSP", "mychannel", "model/k/file/", target, checksum, stopped=some_came
        )
    (part,) = tmp_path.iterdir()
    assert 0 < part.stat().st_size < len(CONTENT)
    Slow.go_on.set()
    size = exchange.fetch("MyOrg2MSP", "mychannel", "model/k/file/", target, checksum)
    assert size == len(CONTENT)
    assert target.read_bytes() == CONTENT
    assert Slow.asked[0] is None
    assert Slow.asked[1] is not None
