"""Presigned files: downloads that resume where they were cut, uploads from an open file.

No credentials here: the address is the permission (rule 17). Every download is checked by its digest where the
lease names one.
"""

import contextlib
import hashlib
import http.client
import os
import ssl
import tarfile
import time
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_ATTEMPTS = 6
_MOST_ENTRIES = 1_000_000


class TransferFailed(Exception):
    """A file did not come, or is not the right one. Its text names no address: that is a permission."""


def download(url: str, target: Path, checksum: str | None = None, salt: str = "") -> None:
    """Fetch a file to `target`. `checksum` is the SHA-256 of the content and the ASCII `salt`.

    Raises:
        TransferFailed: refused, wrong, or cut more often than is worth trying.
    """
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for attempt in range(_ATTEMPTS):
            try:
                if _fetch(url, file, digest):
                    break
            except (OSError, http.client.HTTPException) as error:
                cause = type(error).__name__
            else:
                cause = "cut"
            if attempt == _ATTEMPTS - 1:
                raise TransferFailed(f"{target.name}: {cause}")
            time.sleep(min(0.2 * 2**attempt, 5.0))
    digest.update(salt.encode("ascii"))
    if checksum is not None and digest.hexdigest() != checksum:
        raise TransferFailed(f"{target.name}: not the file that was registered")


def upload(url: str, file: IO[bytes], name: str, attempts: int = _ATTEMPTS) -> None:
    """PUT a file, whole again after a cut; `name` is for the error. Raises TransferFailed."""
    size = file.seek(0, os.SEEK_END)
    for attempt in range(attempts):
        file.seek(0)
        try:
            with contextlib.closing(_connect(url)) as connection:
                headers = {"Content-Length": str(size)}
                connection.request("PUT", _path(url), body=file, headers=headers)
                response = connection.getresponse()
                response.read()
                cause = f"status {response.status}"
                if response.status in (200, 201, 204):
                    return
                if 400 <= response.status < 500 and response.status not in (408, 429):
                    break
        except (OSError, http.client.HTTPException) as error:
            cause = type(error).__name__
        if attempt < attempts - 1:
            time.sleep(min(0.2 * 2**attempt, 5.0))
    raise TransferFailed(f"{name}: {cause}")


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar of regular files and folders, as our own store makes them. Raises TransferFailed."""
    target.mkdir()
    try:
        with tarfile.open(archive, "r:*") as tar:
            for count, entry in enumerate(tar):
                path = Path(os.path.normpath(entry.name))
                inside = not path.is_absolute() and ".." not in path.parts
                if count > _MOST_ENTRIES or not inside or not (entry.isreg() or entry.isdir()):
                    raise TransferFailed(f"{target.name}: an archive with a strange entry")
                place = target / path
                if entry.isdir():
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(entry)
                if content is not None:
                    with content, place.open("wb") as file:
                        _copy(content, file)
    except (tarfile.TarError, OSError) as error:
        raise TransferFailed(f"{target.name}: {type(error).__name__}") from error


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while data := source.read(_CHUNK):
        target.write(data)


def _fetch(url: str, file: IO[bytes], digest: "hashlib._Hash") -> bool:
    """Take what is missing of the file; whether that was all. Raises OSError, HTTPException, TransferFailed."""
    have = file.tell()
    with contextlib.closing(_connect(url)) as connection:
        connection.request("GET", _path(url), headers={"Range": f"bytes={have}-"} if have else {})
        response = connection.getresponse()
        if have and response.status == 416:
            return True
        if have and response.status == 200:  # a server without ranges: what we have comes once more
            left = have
            while left and (data := response.read(min(left, _CHUNK))):
                left -= len(data)
        elif response.status not in (200, 206):
            if 400 <= response.status < 500 and response.status not in (408, 429):
                raise TransferFailed(f"{Path(file.name).name}: status {response.status}")
            raise http.client.HTTPException(f"status {response.status}")
        while data := response.read(_CHUNK):
            file.write(data)
            digest.update(data)
        return not response.length


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname:
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_S)
    if parts.scheme == "https" and parts.hostname:
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=_TIMEOUT_S, context=context
        )
    raise TransferFailed("no http address")


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
