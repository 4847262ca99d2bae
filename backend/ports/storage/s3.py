"""Storage in a bucket of any S3 store, by the `minio` client.

Files that are checked before they are stored are spooled on this machine's disk; streams go up in parts, so
memory stays at two parts whatever the size. The SHA-256 of what we wrote lies beside the bytes as metadata.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

import structlog
import urllib3.exceptions
from minio import Minio
from minio.commonconfig import ComposeSource, CopySource
from minio.error import MinioException, S3Error

from backend.kit.crash_points import crash_points
from backend.ports.storage.local_copies import LocalCopies
from backend.ports.storage.protocol import (
    CHUNK,
    Described,
    StorageUnavailable,
    Stored,
    StoredFileMissing,
    WrongContent,
    key_parts,
)
from backend.ports.storage.spooling import SpooledWriter, prune

MOST_PARTS = 9_000  # a store takes 10,000
COPIED_AT_ONCE = 5 << 30  # more goes by parts
REOPENINGS = 4  # of a reading that was cut
CHECKSUM = "sha256"
log = structlog.get_logger()


class S3Storage:
    """Files of one organization in a bucket, below an optional prefix; scratch and copies below `root`."""

    is_local = False

    def __init__(
        self, client: Minio, bucket: str, root: Path, *, prefix: str, part_size: int
    ) -> None:
        """`prefix`: a key such as `org-1`, or empty; so may several share a bucket. `part_size`: bytes."""
        self._client = client
        self._bucket = bucket
        self._prefix = "/".join(key_parts(prefix)) + "/" if prefix else ""
        self._part_size = part_size
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._copies = LocalCopies(root / "cache" / "objects")

    def prepare(self) -> None:
        with _translated(self._bucket):
            if self._client.bucket_exists(self._bucket):
                return
            try:
                self._client.make_bucket(self._bucket)
            except S3Error as error:
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise
            log.info("bucket_made", bucket=self._bucket)

    # ------------------------------------------------------------------ writing
    def writer(self) -> SpooledWriter:
        return SpooledWriter(self._incoming / uuid.uuid4().hex, self._publish)

    def put(self, key: str, pieces: Iterable[bytes], checksum: str | None = None) -> Stored:
        source = _Source(pieces, checksum)
        with _translated(key):
            self._client.put_object(
                self._bucket,
                self._name(key),
                cast(BinaryIO, source),
                -1,
                metadata={CHECKSUM: checksum} if checksum else None,
                part_size=self._part_size,
                num_parallel_uploads=1,
            )
        return Stored(key, source.size, source.checksum)

    def adopt(self, path: Path, key: str) -> None:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        self._publish(path, Stored(key, path.stat().st_size, checksum))

    def copy(self, source: str, target: str) -> None:
        size, origin, name = self.size(source), self._name(source), self._name(target)
        with _translated(source):
            if size <= COPIED_AT_ONCE:
                self._client.copy_object(self._bucket, name, CopySource(self._bucket, origin))
            else:
                parts = [ComposeSource(self._bucket, origin)]
                self._client.compose_object(self._bucket, name, parts)

    def delete(self, key: str) -> None:
        kind = f"{key_parts(key)[0]}-delete"
        crash_points.reach("store", kind, "before")
        with _translated(key):
            self._client.remove_object(self._bucket, self._name(key))
        crash_points.reach("store", kind, "after")

    # ------------------------------------------------------------------ reading
    def place(self, key: str) -> Path | None:
        return None

    def local_path(self, key: str) -> Path:
        found = self._stat(key)
        etag, expected = str(found.etag), _checksum_of(found)
        size = int(found.size or 0)

        def fetch(path: Path) -> None:
            digest = hashlib.sha256()
            with path.open("wb") as file:
                for piece in self._pieces(key, etag, 0, size):
                    digest.update(piece)
                    file.write(piece)
            if expected not in (None, digest.hexdigest()):
                raise StorageUnavailable(f"{key}: the store gave other bytes than we wrote")

        return self._copies.path(key, etag, fetch)

    def describe(self, key: str) -> Described:
        found = self._stat(key)
        return Described(int(found.size or 0), str(found.etag))

    def size(self, key: str) -> int:
        return self.describe(key).size

    def exists(self, key: str) -> bool:
        try:
            self._stat(key)
        except StoredFileMissing:
            return False
        return True

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        found = self.describe(key)
        end = found.size if length is None else min(found.size, start + length)
        return self._pieces(key, found.etag, start, end)

    def keys(self, folder: str = "") -> Iterator[str]:
        prefix = self._name(folder) + "/" if folder else self._prefix
        with _translated(folder):
            for entry in self._client.list_objects(self._bucket, prefix, recursive=True):
                yield str(entry.object_name).removeprefix(self._prefix)

    # ------------------------------------------------------------------ for runners
    def download_url(self, key: str, expires_s: int) -> str:
        with _translated(key):
            return self._client.presigned_get_object(
                self._bucket, self._name(key), timedelta(seconds=expires_s)
            )

    def upload_url(self, key: str, expires_s: int) -> str:
        with _translated(key):
            return self._client.presigned_put_object(
                self._bucket, self._name(key), timedelta(seconds=expires_s)
            )

    # ------------------------------------------------------------------ on this machine
    def scratch(self) -> Path:
        return self._incoming

    def prune(self, older_than_s: float) -> int:
        return prune(self._incoming, older_than_s)

    # ------------------------------------------------------------------ inside
    def _name(self, key: str) -> str:
        return self._prefix + "/".join(key_parts(key))

    def _stat(self, key: str) -> Any:
        name = self._name(key)
        with _translated(key):
            return self._client.stat_object(self._bucket, name)

    def _publish(self, path: Path, stored: Stored) -> None:
        """Upload, and only then give the local file up."""
        name, kind = self._name(stored.key), key_parts(stored.key)[0]
        crash_points.reach("store", kind, "before")
        with _translated(stored.key), path.open("rb") as file:
            self._client.put_object(
                self._bucket,
                name,
                file,
                stored.size,
                metadata={CHECKSUM: stored.checksum},
                part_size=max(self._part_size, _rounded(stored.size // MOST_PARTS)),
                num_parallel_uploads=1,
            )
        path.unlink()
        crash_points.reach("store", kind, "after")

    def _pieces(self, key: str, etag: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` to before `end`; where the connection is cut, reading goes on."""
        position, cut = start, 0
        while position < end:
            before = position
            try:
                for piece in self._piece(key, etag, position, end):
                    position += len(piece)
                    yield piece
            except StorageUnavailable:
                cut += 1
                if position == before or cut > REOPENINGS:
                    raise
                log.info("reading_goes_on", key=key, at=position)
            else:
                return

    def _piece(self, key: str, etag: str, start: int, end: int) -> Iterator[bytes]:
        with _translated(key):
            response = self._client.get_object(
                self._bucket,
                self._name(key),
                offset=start,
                length=end - start,
                request_headers={"If-Match": f'"{etag}"'},
            )
            try:
                yield from response.stream(CHUNK, decode_content=False)
            finally:
                response.close()
                response.release_conn()


class _Source:
    """An iterator of pieces as a file to read from; it ends only when the checksum is right."""

    def __init__(self, pieces: Iterable[bytes], expected: str | None) -> None:
        self._pieces = iter(pieces)
        self._expected = expected
        self._rest = memoryview(b"")
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def checksum(self) -> str:
        return self._digest.hexdigest()

    def read(self, size: int) -> bytes:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                if self._expected not in (None, self.checksum):
                    raise WrongContent("other bytes than announced")
                return b""
            self._digest.update(piece)
            self.size += len(piece)
            self._rest = memoryview(piece)
        data, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return data


def _rounded(size: int) -> int:
    """Up to the next MiB."""
    return -(-size // (1 << 20)) << 20


def _checksum_of(found: Any) -> str | None:
    """What `_publish` noted; files that came by an `upload_url` have none."""
    value = (found.metadata or {}).get(f"x-amz-meta-{CHECKSUM}")
    return str(value) if value else None


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """The client's errors in our words."""
    try:
        yield
    except S3Error as error:
        if error.code == "NoSuchKey":
            raise StoredFileMissing(key) from None
        raise StorageUnavailable(f"the object store refused {key}: {error.code}") from error
    except MinioException as error:
        raise StorageUnavailable(f"the object store failed on {key}: {error!r}") from error
    except urllib3.exceptions.HTTPError as error:
        reason = type(error).__name__
        raise StorageUnavailable(f"the object store cannot be reached ({reason})") from error
