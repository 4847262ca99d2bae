"""A log that grows beyond its head: what is kept, and what a reader beside it sees meanwhile."""

import os
import resource
from pathlib import Path

import pytest

from backend.engine.task_logs.tails import Tail
from ray_jobs import tail
from ray_jobs.capture import LogCapture


def numbers(first: int, last: int) -> bytes:
    return b"".join(b"%d," % number for number in range(first, last))


def read_on(reader: Tail, most: int = 1 << 16) -> bytes:
    """All that is there now."""
    found = b""
    while data := reader.read(most):
        found += data
    return found


@pytest.mark.parametrize("tail_bytes", [1, 7, 1000, 48_890, 100_000])
def test_head_and_tail_are_kept_whatever_the_writes(tmp_path: Path, tail_bytes: int) -> None:
    capture = LogCapture(tmp_path / "log", head_bytes=100, tail_bytes=tail_bytes)
    for number in range(10_000):
        capture.add(b"%d," % number)
    capture.add(b"")
    capture.close()
    whole = numbers(0, 10_000)
    dropped = len(whole) - 100 - tail_bytes
    marker = b"\n[... %d bytes of the log left out ...]\n" % dropped if dropped > 0 else b""
    expected = whole[:100] + marker + whole[max(100, len(whole) - tail_bytes) :]
    assert (tmp_path / "log").read_bytes() == expected
    assert [file.name for file in tmp_path.iterdir()] == ["log"]


def test_log_without_a_tail_counts_what_it_drops(tmp_path: Path) -> None:
    capture = LogCapture(tmp_path / "log", head_bytes=3, tail_bytes=0)
    for data in (b"abcdef", b"ghi"):
        capture.add(data)
    capture.close()
    assert (tmp_path / "log").read_bytes() == b"abc\n[... 6 bytes of the log left out ...]\n"


def test_write_larger_than_the_tail_leaves_its_end(tmp_path: Path) -> None:
    capture = LogCapture(tmp_path / "log", head_bytes=0, tail_bytes=5)
    capture.add(b"ab")
    capture.add(b"0123456789")
    capture.close()
    assert (tmp_path / "log").read_bytes().endswith(b" left out ...]\n56789")


def test_flood_takes_no_memory(tmp_path: Path) -> None:
    capture = LogCapture(tmp_path / "log", head_bytes=1 << 20, tail_bytes=1 << 20)
    block = bytes(1 << 16)
    capture.add(block)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(4000):
        capture.add(block)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10
    assert tail.tail_of(tmp_path / "log").stat().st_size <= (1 << 20) + tail.HEAD.size
    capture.close()


def test_reader_sees_what_comes_beyond_the_head_at_once_and_to_its_end(tmp_path: Path) -> None:
    capture = LogCapture(tmp_path / "log", head_bytes=10, tail_bytes=1000)
    assert Tail.beside(tmp_path / "log", 10) is None
    capture.add(b"0123456789abc")
    assert Tail.beside(tmp_path / "log", 9) is None
    reader = Tail.beside(tmp_path / "log", 10)
    assert reader is not None
    assert read_on(reader) == b"abc"
    for first in range(0, 2000, 100):
        capture.add(numbers(first, first + 100))
        assert read_on(reader, 64) == numbers(first, first + 100)
    capture.add(b"the end")
    capture.close()
    assert read_on(reader) == b"the end"
    assert reader.read(10) == b""
    reader.close()
    assert Tail.beside(tmp_path / "log", 10) is None


def test_slow_reader_is_told_how_much_is_missing(tmp_path: Path) -> None:
    capture = LogCapture(tmp_path / "log", head_bytes=0, tail_bytes=100)
    capture.add(b"read in time,")
    reader = Tail.beside(tmp_path / "log", 0)
    assert reader is not None
    assert read_on(reader) == b"read in time,"
    text = numbers(0, 500)
    for start in range(0, len(text), 50):
        capture.add(text[start : start + 50])
    found = read_on(reader)
    missing = len(text) - 100
    assert found.startswith(b"\n[... %d bytes left out: they came faster" % missing)
    assert found.partition(b" ...]\n")[2] == text[-100:]
    capture.close()
    reader.close()


def test_what_is_overwritten_while_it_is_read_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = LogCapture(tmp_path / "log", head_bytes=0, tail_bytes=10)
    capture.add(b"0123456789")
    reader = Tail.beside(tmp_path / "log", 0)
    assert reader is not None
    more = [b"abc"]
    pread = os.pread

    def racing(file: int, count: int, place: int) -> bytes:
        data = pread(file, count, place)
        if place >= tail.HEAD.size and more:
            capture.add(more.pop())
        return data

    monkeypatch.setattr("backend.engine.task_logs.tails.os.pread", racing)
    found = reader.read(100)
    monkeypatch.undo()
    assert found.startswith(b"\n[... 3 bytes left out")
    assert found.endswith(b"\n3456789")
    assert reader.read(100) == b"abc"
    capture.close()
    reader.close()


@pytest.mark.parametrize("content", [b"", b"short", bytes(32), b"\xff" * 40])
def test_file_that_is_no_ring_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log.tail").write_bytes(content)
    assert Tail.beside(tmp_path / "log", 0) is None
