"""Reading along a log that is sent anew as it grows."""

from pathlib import Path
from uuid import uuid4

import pytest

from backend.engine.task_logs import sources
from backend.engine.task_logs.kept import keep_stored, stored_log
from backend.engine.task_logs.sources import StoredSource
from backend.ports.storage.filesystem import FilesystemStorage
from ray_jobs.pod.live import SharedCapture

RUNNING, OVER = "incoming/t/l/log", "logs/t/log"


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FilesystemStorage:
    monkeypatch.setattr(sources, "LOOK_STORED_S", 0.0)
    return FilesystemStorage(tmp_path / "store")


def heard(source: StoredSource) -> bytes:
    found = b""
    while piece := source.read():
        found += piece
    return found


def test_each_sending_brings_what_is_new(storage: FilesystemStorage) -> None:
    source = StoredSource(storage, [RUNNING, OVER], head_bytes=1000)
    assert heard(source) == b""
    for text, new in ((b"one\n", b"one\n"), (b"one\ntwo\n", b"two\n"), (b"one\ntwo\n", b"")):
        storage.put(RUNNING, [text])
        assert heard(source) == new
    storage.put(OVER, [b"one\ntwo\nthree\n"])
    storage.delete(RUNNING)
    assert heard(source) == b"three\n"


def test_what_lies_beyond_the_head_follows_and_what_is_missing_is_named(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    capture = SharedCapture(tmp_path / "log", head_bytes=10, tail_bytes=50)
    source = StoredSource(storage, [RUNNING], head_bytes=10)
    late = StoredSource(storage, [RUNNING], head_bytes=10)
    said = b""
    for number in range(8):
        line = f"line {number}, its words\n".encode()
        capture.add(line)
        said += line
        storage.put(RUNNING, [capture.so_far()])
        assert heard(source) == line
    missing = len(said) - 60
    note = f"\n[... {missing} bytes of the log left out ...]\n".encode()
    assert heard(late) == said[:10] + note + said[-50:]
    capture.add(b"y" * 200)
    storage.put(RUNNING, [capture.so_far()])
    assert heard(source) == b"\n[... 150 bytes of the log left out ...]\n" + b"y" * 50
    capture.close()


def test_a_log_that_says_nothing_is_not_kept(storage: FilesystemStorage) -> None:
    said, silent, missing = uuid4(), uuid4(), uuid4()
    storage.put("incoming/a/log", [b"a line"])
    storage.put("incoming/b/log", [b""])
    for task, source in ((said, "a"), (silent, "b"), (missing, "c")):
        keep_stored(storage, task, f"incoming/{source}/log")
    assert list(storage.keys("task-logs")) == [stored_log(said)]
