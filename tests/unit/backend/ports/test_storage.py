"""Files of an organization: atomic, durable, streamed."""

import hashlib
from pathlib import Path

import pytest

from backend.ports.storage import FilesystemStorage, StoredFileMissing


@pytest.fixture
def storage(tmp_path: Path) -> FilesystemStorage:
    return FilesystemStorage(tmp_path)


def test_written_file_appears_at_commit(storage: FilesystemStorage) -> None:
    with storage.writer() as writer:
        writer.write(b"abc")
        writer.write(memoryview(b"def"))
        assert not storage.exists("functions/k/archive")
        stored = writer.commit("functions/k/archive")
    assert (stored.size, stored.checksum) == (6, hashlib.sha256(b"abcdef").hexdigest())
    assert storage.local_path("functions/k/archive").read_bytes() == b"abcdef"
    assert storage.size("functions/k/archive") == 6
    assert list(storage.scratch().iterdir()) == []


def test_closed_file_is_whole_and_can_be_committed_once(storage: FilesystemStorage) -> None:
    with storage.writer() as writer:
        writer.write(b"abc")
        writer.close()
        assert writer.path.read_bytes() == b"abc"
        with pytest.raises(ValueError, match="closed"):
            writer.write(b"d")
        assert writer.commit("k").size == 3
        with pytest.raises(ValueError, match="committed"):
            writer.commit("k")
    assert storage.local_path("k").read_bytes() == b"abc"


def test_discarded_file_never_appears(storage: FilesystemStorage) -> None:
    with storage.writer() as writer:
        writer.write(b"abc")
    assert list(storage.scratch().iterdir()) == []
    with pytest.raises(ValueError, match="discarded"):
        writer.commit("x")


def test_ranges(storage: FilesystemStorage) -> None:
    with storage.writer() as writer:
        writer.write(bytes(range(100)))
        writer.commit("k")
    assert b"".join(storage.read("k")) == bytes(range(100))
    assert b"".join(storage.read("k", 10, 5)) == bytes(range(10, 15))
    assert b"".join(storage.read("k", 90, 500)) == bytes(range(90, 100))


def test_adopted_file_moves(storage: FilesystemStorage) -> None:
    path = storage.scratch() / "done"
    path.write_bytes(b"x")
    storage.adopt(path, "models/k/model")
    assert not path.exists()
    assert storage.local_path("models/k/model").read_bytes() == b"x"


def test_deletion_is_idempotent_and_keeps_siblings(storage: FilesystemStorage) -> None:
    for name in ("a", "b"):
        with storage.writer() as writer:
            writer.commit(f"functions/k/{name}")
    storage.delete("functions/k/a")
    storage.delete("functions/k/a")
    assert storage.exists("functions/k/b")
    for call in (storage.local_path, storage.size, storage.read):
        with pytest.raises(StoredFileMissing):
            call("functions/k/a")


@pytest.mark.parametrize("key", ["", "../x", "a/../b", "/x", "a//b", ".hidden", "a/b\n", "a b"])
def test_keys_cannot_leave_the_store(storage: FilesystemStorage, key: str) -> None:
    with pytest.raises(ValueError, match="not a storage key"):
        storage.exists(key)


def test_old_leftovers_are_pruned(storage: FilesystemStorage) -> None:
    (storage.scratch() / "old").write_bytes(b"x")
    assert storage.prune(older_than_s=3600) == 0
    assert storage.prune(older_than_s=-1) == 1
    assert list(storage.scratch().iterdir()) == []
