"""What every kind of storage must do: one suite, run over each of them.

A subclass gives the fixture `storage`: an empty store.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.ports.storage import Storage, StoredFileMissing, WrongContent

KEYS_REFUSED = ["", "../x", "a/../b", "/x", "a//b", ".hidden", "a/b\n", "a b"]
LARGE = 12 << 20
"""Bytes: three parts of the smallest size that an S3 store takes."""


def pieces(size: int) -> Iterator[bytes]:
    """`size` bytes that differ from place to place, in odd portions."""
    portion, position = bytes(range(251)) * 400, 0
    while position < size:
        piece = portion[: size - position]
        position += len(piece)
        yield piece


def content(size: int) -> bytes:
    return b"".join(pieces(size))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def store(storage: Storage, key: str, data: bytes) -> None:
    with storage.writer() as writer:
        writer.write(data)
        writer.commit(key)


def read(storage: Storage, key: str) -> bytes:
    return b"".join(storage.read(key))


class StorageContract:
    def test_written_file_appears_at_commit(self, storage: Storage) -> None:
        with storage.writer() as writer:
            writer.write(b"abc")
            writer.write(memoryview(b"def"))
            assert not storage.exists("functions/k/archive")
            stored = writer.commit("functions/k/archive")
        assert (stored.size, stored.checksum) == (6, sha256(b"abcdef"))
        assert storage.local_path("functions/k/archive").read_bytes() == b"abcdef"
        assert storage.size("functions/k/archive") == 6
        assert list(storage.scratch().iterdir()) == []

    def test_closed_file_is_whole_and_can_be_committed_once(self, storage: Storage) -> None:
        with storage.writer() as writer:
            writer.write(b"abc")
            writer.close()
            assert writer.path.read_bytes() == b"abc"
            with pytest.raises(ValueError, match="closed"):
                writer.write(b"d")
            assert writer.commit("k").size == 3
            with pytest.raises(ValueError, match="committed"):
                writer.commit("k")
        assert read(storage, "k") == b"abc"

    def test_discarded_file_never_appears(self, storage: Storage) -> None:
        with storage.writer() as writer:
            writer.write(b"abc")
        assert list(storage.scratch().iterdir()) == []
        with pytest.raises(ValueError, match="discarded"):
            writer.commit("x")
        assert list(storage.keys()) == []

    def test_ranges(self, storage: Storage) -> None:
        store(storage, "k", bytes(range(100)))
        assert read(storage, "k") == bytes(range(100))
        assert b"".join(storage.read("k", 10, 5)) == bytes(range(10, 15))
        assert b"".join(storage.read("k", 90, 500)) == bytes(range(90, 100))
        assert b"".join(storage.read("k", 99)) == bytes([99])
        assert b"".join(storage.read("k", 100)) == b""
        assert b"".join(storage.read("k", 10, 0)) == b""

    def test_empty_file(self, storage: Storage) -> None:
        store(storage, "k", b"")
        assert storage.size("k") == 0
        assert read(storage, "k") == b""
        assert storage.local_path("k").read_bytes() == b""

    def test_large_file_comes_back_as_it_was(self, storage: Storage) -> None:
        data = content(LARGE)
        with storage.writer() as writer:
            for piece in pieces(LARGE):
                writer.write(piece)
            stored = writer.commit("models/large/model")
        assert (stored.size, stored.checksum) == (LARGE, sha256(data))
        assert sha256(read(storage, "models/large/model")) == sha256(data)
        middle = b"".join(storage.read("models/large/model", LARGE // 2, 1000))
        assert middle == data[LARGE // 2 :][:1000]
        assert sha256(storage.local_path("models/large/model").read_bytes()) == sha256(data)

    @pytest.mark.parametrize("size", [0, 1, (5 << 20) - 1, 5 << 20, (5 << 20) + 1, LARGE])
    def test_stream_is_stored_whole(self, storage: Storage, size: int) -> None:
        stored = storage.put("models/k/model", pieces(size), sha256(content(size)))
        assert (stored.key, stored.size) == ("models/k/model", size)
        assert stored.checksum == sha256(content(size)) == sha256(read(storage, "models/k/model"))

    @pytest.mark.parametrize("size", [10, LARGE])
    def test_stream_with_other_bytes_than_announced_changes_nothing(
        self, storage: Storage, size: int
    ) -> None:
        store(storage, "k", b"before")
        with pytest.raises(WrongContent):
            storage.put("k", pieces(size), "0" * 64)
        assert read(storage, "k") == b"before"
        assert list(storage.scratch().iterdir()) == []

    @pytest.mark.parametrize("size", [10, LARGE])
    def test_cut_stream_changes_nothing(self, storage: Storage, size: int) -> None:
        def cut() -> Iterator[bytes]:
            yield from pieces(size)
            raise ConnectionResetError("the sender died")

        with pytest.raises(ConnectionResetError):
            storage.put("k", cut())
        assert not storage.exists("k")

    def test_adopted_file_moves(self, storage: Storage, tmp_path: Path) -> None:
        for folder in (storage.scratch(), tmp_path):
            path = folder / "done"
            path.write_bytes(b"x")
            storage.adopt(path, "models/k/model")
            assert not path.exists()
            assert storage.local_path("models/k/model").read_bytes() == b"x"

    def test_tag_changes_with_the_bytes(self, storage: Storage) -> None:
        store(storage, "k", b"one")
        first = storage.describe("k")
        assert storage.describe("k") == first
        store(storage, "k", b"two")
        assert storage.describe("k").etag != first.etag
        assert storage.local_path("k").read_bytes() == b"two"

    def test_copy_leaves_the_source(self, storage: Storage) -> None:
        store(storage, "a/k", b"abc")
        store(storage, "b/k", b"before")
        storage.copy("a/k", "b/k")
        storage.delete("a/k")
        assert read(storage, "b/k") == b"abc"
        assert storage.local_path("b/k").read_bytes() == b"abc"

    def test_keys_are_listed_by_folder(self, storage: Storage) -> None:
        for key in ("functions/b/archive", "functions/a/archive", "functions/a/image", "logs/a"):
            store(storage, key, b"x")
        assert list(storage.keys("functions/a")) == ["functions/a/archive", "functions/a/image"]
        assert list(storage.keys()) == sorted(
            ["functions/a/archive", "functions/a/image", "functions/b/archive", "logs/a"]
        )
        assert list(storage.keys("functions/c")) == []
        assert list(storage.keys("function")) == []

    def test_deletion_is_idempotent_and_keeps_siblings(self, storage: Storage) -> None:
        for name in ("a", "b"):
            store(storage, f"functions/k/{name}", b"x")
        storage.delete("functions/k/a")
        storage.delete("functions/k/a")
        assert storage.exists("functions/k/b")
        for call in (storage.local_path, storage.size, storage.read, storage.describe):
            with pytest.raises(StoredFileMissing):
                call("functions/k/a")
        with pytest.raises(StoredFileMissing):
            storage.copy("functions/k/a", "functions/k/c")

    @pytest.mark.parametrize("key", KEYS_REFUSED)
    def test_keys_cannot_leave_the_store(self, storage: Storage, key: str) -> None:
        for call in (storage.exists, storage.delete, storage.read, storage.local_path):
            with pytest.raises(ValueError, match="not a storage key"):
                call(key)

    def test_old_leftovers_are_pruned(self, storage: Storage) -> None:
        (storage.scratch() / "old").write_bytes(b"x")
        assert storage.prune(older_than_s=3600) == 0
        assert storage.prune(older_than_s=-1) == 1
        assert list(storage.scratch().iterdir()) == []

    def test_preparing_again_keeps_the_files(self, storage: Storage) -> None:
        store(storage, "k", b"abc")
        storage.prepare()
        assert read(storage, "k") == b"abc"
