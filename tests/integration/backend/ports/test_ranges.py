"""Large files come in several ranges at once, go on after cuts, and never fill the memory."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backend.kit.errors import PeerUnreachable
from backend.ports.exchange import Exchange, TransferStopped, WrongChecksum
from backend.settings import PeerSettings, Settings

MIB = 1 << 20
SIZE = 6 * MIB + 12_345
CONTENT = hashlib.shake_128(b"model").digest(SIZE)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()
BLOCK = bytes(MIB)


class Owner(BaseHTTPRequestHandler):
    """Gives a file of `size` bytes, whole or by ranges. `cut`: asked before each piece whether to hang up."""

    size = SIZE
    ranges = True
    piece: Callable[[int, int], bytes] = staticmethod(lambda start, end: CONTENT[start:end])
    cut: Callable[[int], bool] = staticmethod(lambda position: False)
    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        given = self.headers.get("Range") if self.ranges else None
        self.asked.append(given)
        start, end = 0, self.size
        if given:
            first, _, last = given.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last or self.size - 1) + 1
        self.send_response(206 if given else 200)
        self.send_header("Content-Length", str(end - start))
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if given:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{self.size}")
        self.end_headers()
        try:
            while start < end:
                if self.cut(start):
                    self.close_connection = True
                    return
                upto = min(start + len(BLOCK), end)
                self.wfile.write(self.piece(start, upto))
                start = upto
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


@contextmanager
def owner(**behavior: object) -> Iterator[tuple[str, list[str | None]]]:
    asked: list[str | None] = []
    kind = type("OwnerOfOneTest", (Owner,), {"asked": asked, **behavior})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.ports.exchange.client.PARALLEL_FROM", MIB)
    monkeypatch.setattr("backend.ports.exchange.ranges.NOTED", MIB // 2)


def fetch(
    url: str, target: Path, checksum: str = CHECKSUM, stopped: Callable[[], bool] = lambda: False
) -> int:
    peer = PeerSettings(url=url, outgoing="s12", incoming="s21")
    exchange = Exchange(Settings(MSP_ID="MyOrg1MSP", PEERS={"MyOrg2MSP": peer}))
    return exchange.fetch(
        "MyOrg2MSP", "mychannel", "model/k/file/", target, checksum, stopped=stopped
    )


class Meeting:
    """None of these positions is sent before all of them were asked for."""

    def __init__(self, *positions: int) -> None:
        self._positions = positions
        self._together = threading.Barrier(len(positions), timeout=20)

    def cut(self, position: int) -> bool:
        if position in self._positions:
            self._together.wait()
        return False


class Cuts:
    """Hangs up so many times, never in the first piece, and counts what was sent."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()
        self.sent = 0

    def cut(self, position: int) -> bool:
        with self._lock:
            due = position > MIB and self._left > 0
            self._left -= due
            return due

    def piece(self, start: int, end: int) -> bytes:
        with self._lock:
            self.sent += end - start
        return CONTENT[start:end]


def test_a_large_file_comes_in_several_ranges_at_once(tmp_path: Path) -> None:
    step = -(-SIZE // 4)
    meeting = Meeting(step, 2 * step, 3 * step)
    with owner(cut=staticmethod(meeting.cut)) as (url, asked):
        assert fetch(url, tmp_path / "model") == SIZE
    assert (tmp_path / "model").read_bytes() == CONTENT
    assert len(asked) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_after_cuts_only_what_is_missing_comes_again(tmp_path: Path) -> None:
    cuts = Cuts(6)
    with owner(cut=staticmethod(cuts.cut), piece=staticmethod(cuts.piece)) as (url, _):
        assert fetch(url, tmp_path / "model") == SIZE
    assert (tmp_path / "model").read_bytes() == CONTENT
    assert cuts.sent < 2 * SIZE


def test_a_stopped_transfer_goes_on_in_another_process(tmp_path: Path) -> None:
    with owner() as (url, asked):

        def some_came() -> bool:
            return any(path.name.endswith(".ranges") for path in tmp_path.iterdir())

        with pytest.raises(TransferStopped):
            fetch(url, tmp_path / "model", stopped=some_came)
        assert not (tmp_path / "model").exists()
        before = len(asked)
        assert fetch(url, tmp_path / "model") == SIZE
    assert (tmp_path / "model").read_bytes() == CONTENT
    assert all(ranges is not None for ranges in asked[before:]), "it does not begin anew"


def test_wrong_bytes_leave_nothing_to_go_on_from(tmp_path: Path) -> None:
    with owner() as (url, _), pytest.raises(WrongChecksum):
        fetch(url, tmp_path / "model", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_an_owner_without_ranges_gives_it_in_one_piece(tmp_path: Path) -> None:
    with owner(ranges=False) as (url, asked):
        assert fetch(url, tmp_path / "model") == SIZE
    assert asked == [None]


def test_an_owner_that_gives_nothing_but_cuts_is_given_up(tmp_path: Path) -> None:
    with owner(cut=staticmethod(lambda position: True)) as (url, _), pytest.raises(PeerUnreachable):
        fetch(url, tmp_path / "model")


MEMORY = """
import re, sys
from pathlib import Path
from backend.ports.exchange import Exchange
from backend.settings import PeerSettings, Settings
url, target, checksum = sys.argv[1:]
peer = PeerSettings(url=url, outgoing="s12", incoming="s21")
exchange = Exchange(Settings(MSP_ID="MyOrg1MSP", PEERS={"MyOrg2MSP": peer}))
status = lambda name: int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = status("VmRSS")
size = exchange.fetch("MyOrg2MSP", "mychannel", "model/k/file/", Path(target), checksum)
print(size, status("VmHWM") - before)
"""


def test_a_gigabyte_takes_no_memory(tmp_path: Path) -> None:
    size = 1 << 30
    digest = hashlib.sha256()
    for _ in range(size // len(BLOCK)):
        digest.update(BLOCK)
    zeros = staticmethod(lambda start, end: BLOCK[: end - start])
    with owner(size=size, piece=zeros) as (url, asked):
        words = [sys.executable, "-c", MEMORY, url, str(tmp_path / "model"), digest.hexdigest()]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
    came, grown_kb = map(int, done.stdout.split())
    assert came == size
    assert grown_kb < 32 * 1024
    assert len(asked) == 5
