"""A transfer that nobody wants any more ends in the middle, and the next one goes on from there."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backend.ports.exchange import Exchange, TransferStopped
from backend.settings import PeerSettings, Settings

CONTENT = b"0123456789" * 200_000
SOON_S = 2.0


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


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst"


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", HEAD], ids=["nothing", "a word", "bytes"])
def test_a_transfer_from_a_silent_owner_can_be_stopped(tmp_path: Path, said: bytes) -> None:
    """Long before the time after which its silence would count as a failure."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _address = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(said)
                asked.set()
                connection.recv(65_536)  # until the other end is closed

        owner = threading.Thread(target=answer, daemon=True)
        owner.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        peer = PeerSettings(url=url, outgoing="s12", incoming="s21")
        settings = Settings(PEERS={"MyOrg2MSP": peer}, HTTP_CLIENT_TIMEOUT_SECONDS=60)
        began = time.monotonic()
        with pytest.raises(TransferStopped):
            Exchange(settings).fetch(
                *("MyOrg2MSP", "mychannel", "model/k/file/", tmp_path / "model", "0" * 64),
                stopped=asked.is_set,
            )
        assert time.monotonic() - began < SOON_S
        owner.join(10)
        assert not owner.is_alive()
