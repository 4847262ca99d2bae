"""Zip archives: the directory is counted before the standard library builds an object per entry."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

from backend.assets.archives.errors import (
    COMPRESSION,
    DAMAGED,
    ENCRYPTED,
    LINKS,
    TOO_MANY,
    ArchiveRefused,
    NotAnArchive,
)
from backend.assets.archives.reading import CHUNK, Entry, Kind, Limits, below_target

_RECORD = struct.Struct("<4s24x3H12x")  # signature; lengths of name, extra field, comment
_LOCAL = struct.Struct("<26x2H")  # lengths of name and extra field, before the content
LARGEST_DICTIONARY = 128 * 1024 * 1024
_SIGNATURE = b"PK\x01\x02"
_END64 = b"PK\x06\x06"
_SIZE, _OFFSET, _PLACE, _END_SIGNATURE = 5, 6, 9, 0
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError)


def zip_entries(path: Path, limits: Limits) -> Iterator[Entry]:
    with path.open("rb") as file:
        _count(file, limits)
        try:
            archive = zipfile.ZipFile(file)
        except (*_DAMAGE, RuntimeError, struct.error, LookupError):
            raise NotAnArchive(DAMAGED) from None
        with archive:
            for info in archive.infolist():
                yield _entry(archive, info)


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry:
    if info.flag_bits & 0x1:
        raise ArchiveRefused(ENCRYPTED)
    if not _readable(archive, info):
        raise ArchiveRefused(COMPRESSION)
    mode = info.external_attr >> 16 if info.create_system == 3 else 0
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveRefused(LINKS)
    is_directory = info.filename.endswith("/") or kind == stat.S_IFDIR
    return Entry(
        raw=info.filename,
        path=below_target(info.filename),
        kind=Kind.DIRECTORY if is_directory else Kind.FILE,
        size=0 if is_directory else info.file_size,
        executable=bool(mode & 0o100),
        chunks=partial(_chunks, archive, info),
    )


def _readable(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    """Whether reading the entry takes little memory: LZMA's dictionary is as large as its header says."""
    if info.compress_type != zipfile.ZIP_LZMA:
        return info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
    file = archive.fp
    if file is None:
        return False
    file.seek(info.header_offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        return False
    file.seek(sum(_LOCAL.unpack(header)), 1)
    properties = file.read(9)
    return int.from_bytes(properties[5:9], "little") <= LARGEST_DICTIONARY


def _chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content, checked against its size and CRC."""
    try:
        with archive.open(info) as content:
            yield from _read(content, info.file_size)
    except (*_DAMAGE, RuntimeError, struct.error):
        raise NotAnArchive(DAMAGED) from None


def _read(content: IO[bytes], size: int) -> Iterator[bytes]:
    left = size
    while chunk := content.read(CHUNK):
        left -= len(chunk)
        yield chunk
    if left:
        raise EOFError


def _count(file: BinaryIO, limits: Limits) -> None:
    """Walk through the central directory without keeping it.

    It begins where zipfile looks for it (its own reading of the end record), so that both see the same.

    Raises:
        NotAnArchive: no sound directory. ArchiveRefused: more entries than allowed.
    """
    try:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    except (OSError, zipfile.BadZipFile, struct.error):
        end = None
    if not end:
        raise NotAnArchive(DAMAGED)
    size, offset, place = end[_SIZE], end[_OFFSET], end[_PLACE]
    start = place - size - (76 if end[_END_SIGNATURE] == _END64 else 0)
    if start < 0 or offset < 0:
        raise NotAnArchive(DAMAGED)
    file.seek(start)
    count = consumed = 0
    while consumed < size:
        record = file.read(46)
        if len(record) < 46 or not record.startswith(_SIGNATURE):
            raise NotAnArchive(DAMAGED)
        _, name, extra, comment = _RECORD.unpack(record)
        file.seek(name + extra + comment, 1)
        consumed += 46 + name + extra + comment
        count += 1
        if count > limits.entries:
            raise ArchiveRefused(TOO_MANY)
    file.seek(0)
