"""Tar archives, with any compression of the standard library: read forward once, header by header."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from backend.assets.archives.errors import (
    DAMAGED,
    LINKS,
    TOO_LARGE,
    TOO_MANY,
    ArchiveRefused,
    NotAnArchive,
)
from backend.assets.archives.reading import CHUNK, Entry, Kind, Limits, below_target

LARGEST_READ = CHUNK  # an honest header (pax, GNU long name) is far smaller
MOST_GLOBAL_HEADERS = 1_000
XZ_MEMORY = 128 * 1024 * 1024  # bytes; `xz -9` needs 65 MiB
OVERHEAD = 64 * 1024 * 1024  # headers and padding, beside the content
_BEHIND = 1024
_DAMAGE = (
    *(tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError),
    *(LookupError, ArithmeticError, RecursionError),  # tarfile on nested or absurd headers
)


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class XzReader:
    """What lzma.LZMAFile does, with a limit on the memory that the stream's header asks for."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._decoder = lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def read(self, size: int, /) -> bytes:
        data = b""
        while len(data) < size:
            rest = self._decoder.unused_data if self._decoder.eof else b""
            if self._decoder.eof:  # another stream may follow, or padding
                rest = (rest or self._raw.read(CHUNK)).lstrip(b"\0")
                if not rest:
                    break
                self._decoder = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
            elif self._decoder.needs_input:
                rest = self._raw.read(CHUNK)
                if not rest:
                    raise EOFError("the stream ends before its end marker")
            data += self._decoder.decompress(rest, size - len(data))
        return data


class ForwardReader:
    """What tarfile needs of a file, over a decompressor that cannot go back.

    Refuses single reads of more than LARGEST_READ bytes (headers are read whole) and more than `most` bytes
    in all (a bomb unpacks while tarfile skips). Seeking back works for the last _BEHIND bytes only.
    """

    def __init__(self, raw: Readable, most: int) -> None:
        self._raw = raw
        self._most = most
        self._position = 0
        self._behind = b""
        self._ahead = b""

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > LARGEST_READ:
            raise ArchiveRefused(TOO_LARGE)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        if len(data) < size:
            data += self._raw.read(size - len(data))
        self._position += len(data)
        self._behind = (self._behind + data)[-_BEHIND:]
        if self._position > self._most:
            raise ArchiveRefused(TOO_LARGE)
        return data

    def seek(self, position: int) -> int:
        back = self._position - position
        if back > len(self._behind):
            raise NotAnArchive(DAMAGED)
        if back > 0:
            self._ahead = self._behind[-back:] + self._ahead
            self._behind = self._behind[:-back]
            self._position = position
        while self._position < position:
            if not self.read(min(CHUNK, position - self._position)):
                break
        return self._position

    def tell(self) -> int:
        return self._position


def tar_entries(path: Path, limits: Limits) -> Iterator[Entry]:
    most = limits.bytes_of(path.stat().st_size) + OVERHEAD
    with path.open("rb") as file:
        reader = ForwardReader(_opened(file), most)
        try:
            archive = tarfile.TarFile(fileobj=reader, mode="r")  # type: ignore[arg-type]
        except _DAMAGE:
            raise NotAnArchive(DAMAGED) from None
        first: tarfile.TarInfo | None = archive.firstmember  # type: ignore[attr-defined]
        if first is None:
            return
        while (member := _next(archive)) is not None:
            yield _entry(reader, member)


def _opened(file: IO[bytes]) -> Readable:
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file, mode="rb")
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if start == b"\xfd7zXZ\x00" or start.startswith(b"\x5d\x00\x00"):
        return XzReader(file)
    return file


def _next(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        member = archive.next()
    except _DAMAGE:
        raise NotAnArchive(DAMAGED) from None
    archive.members = []  # type: ignore[attr-defined]  # tarfile would keep an object per entry
    headers: dict[str, Any] = archive.pax_headers  # type: ignore[assignment]
    if len(headers) > MOST_GLOBAL_HEADERS:
        raise ArchiveRefused(TOO_MANY)
    return member


def _entry(reader: ForwardReader, member: tarfile.TarInfo) -> Entry:
    if member.sparse is not None or not (member.isreg() or member.isdir() or member.islnk()):
        raise ArchiveRefused(LINKS)
    path, target = below_target(member.name), ""
    kind = Kind.DIRECTORY if member.isdir() else Kind.FILE
    if member.islnk():
        kind, target = Kind.HARD_LINK, below_target(member.linkname)
    return Entry(
        raw=member.name,
        path=path,
        kind=kind,
        size=member.size if kind is Kind.FILE else 0,
        executable=bool(member.mode & 0o100),
        chunks=partial(_chunks, reader, member),
        target=target,
    )


def _chunks(reader: ForwardReader, member: tarfile.TarInfo) -> Iterator[bytes]:
    try:
        reader.seek(member.offset_data)
        left = member.size
        while left:
            data = reader.read(min(CHUNK, left))
            if not data:
                raise EOFError
            left -= len(data)
            yield data
    except _DAMAGE:
        raise NotAnArchive(DAMAGED) from None
