"""Multipart uploads streamed to the storage's volume: what is in memory is one piece of the body.

Parsing, hashing and writing run in a few threads of their own, so that neither the event loop nor the threads
of the database wait for a disk. An upload that ends badly leaves no file behind.
"""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from backend.kit.bodies import document, json_object, media_type
from backend.kit.errors import ApiError, BadRequest, TooLarge
from backend.ports.storage import Storage, Writer

PIECE = 512 * 1024  # bytes handed to a thread at once
READ_ON = 16 * 1024 * 1024  # bytes read behind a file that is too large, before the answer goes out
MOST_FILES = 100
MOST_FIELDS = 10_000
JSON_LIMIT = 4 * 1024 * 1024  # bytes of all text parts together
WRITERS = 4  # threads that receive
REGISTRARS = 4  # threads that check, store and register what was received
T = TypeVar("T")


class StorageFull(ApiError):
    """No space for what was sent."""

    status = 507
    default = "No space left to store this file"


@dataclass(slots=True)
class UploadedFile:
    """A received part. `name` is what the client called the file, without folders; `too_large`: cut off."""

    part: str
    name: str
    writer: Writer
    too_large: bool = False

    @property
    def size(self) -> int:
        return self.writer.size

    @property
    def checksum(self) -> str:
        return self.writer.checksum


@dataclass(slots=True)
class Upload:
    """What came: the JSON object, and the files in their order (of equal part names only the last)."""

    json: dict[str, Any] = field(default_factory=dict)
    files: dict[str, UploadedFile] = field(default_factory=dict)

    @property
    def too_large(self) -> bool:
        """A file is beyond the limit. What came behind it may not have been read."""
        return any(file.too_large for file in self.files.values())


@asynccontextmanager
async def received(request: Request, storage: Storage, *, file_limit: int) -> AsyncIterator[Upload]:
    """The upload in a request; its temporary files end with the block unless they were committed.

    A file that grows beyond `file_limit` bytes is marked and not kept. A little more of the body is read, since
    most clients hear no answer before they have sent all; then the upload ends as it is, and the server throws
    away what still comes. Bodies of other kinds give an upload without files.

    Raises:
        BadRequest: malformed (400). TooLarge: too much text (413). StorageFull: 507.
    """
    if media_type(request) != "multipart/form-data":
        yield Upload(json=await document(request, lists=("data_manager_keys", "paths")))
        return
    receiver = _Receiver(_boundary(request), storage, file_limit)
    try:
        await _receive(request, receiver)
        yield receiver.upload()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull from None
        raise
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(receiver.discard, limiter=_threads().receiving)


async def in_upload_thread(register: Callable[[Upload], T], upload: Upload) -> T:
    """Check, store and register an upload in a thread of its own kind.

    Reading gigabytes of archives takes long; the threads of all other requests stay free.
    """
    return await anyio.to_thread.run_sync(register, upload, limiter=_threads().registering)


class _Threads:
    def __init__(self) -> None:
        self.receiving = anyio.CapacityLimiter(WRITERS)
        self.registering = anyio.CapacityLimiter(REGISTRARS)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Threads] = WeakKeyDictionary()


def _threads() -> _Threads:
    """Threads for uploads of this event loop."""
    return _of_loops.setdefault(asyncio.get_running_loop(), _Threads())


def _boundary(request: Request) -> bytes:
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise BadRequest("Multipart form parse error - Invalid boundary in multipart: None")
    return boundary


async def _receive(request: Request, receiver: "_Receiver") -> None:
    waiting, limiter = bytearray(), _threads().receiving
    try:
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= PIECE:
                piece = bytes(waiting)
                waiting.clear()
                await anyio.to_thread.run_sync(receiver.feed, piece, limiter=limiter)
                if receiver.decided:
                    return
        await anyio.to_thread.run_sync(receiver.finish, bytes(waiting), limiter=limiter)
    except ClientDisconnect:
        raise BadRequest("The client went away before the upload ended") from None
    except FormParserError as error:
        raise BadRequest(f"Multipart form parse error - {error}") from None


class _Receiver:
    """Callbacks of the parser: text parts into memory (bounded), file parts into the storage."""

    def __init__(self, boundary: bytes, storage: Storage, file_limit: int) -> None:
        self._storage = storage
        self._file_limit = file_limit
        self._files: list[UploadedFile] = []
        self._texts: dict[str, bytes] = {}
        self._text_size = self._text_count = self._dropped = 0
        self._header_name, self._header_value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._part, self._text = "", bytearray()
        self._file: UploadedFile | None = None
        self._ended = False
        try:
            self._parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]
        except FormParserError as error:
            raise BadRequest(f"Multipart form parse error - {error}") from None

    def _callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    # ------------------------------------------------------------------ called by threads
    def feed(self, piece: bytes) -> None:
        self._parser.write(piece)

    @property
    def decided(self) -> bool:
        """Nothing that still comes changes the answer."""
        return self._ended or self._dropped > READ_ON

    def finish(self, piece: bytes) -> None:
        self._parser.write(piece)
        if not self.decided:
            raise FormParserError("the body ends before its last boundary")

    def discard(self) -> None:
        for file in self._files:
            file.writer.discard()

    def upload(self) -> Upload:
        text = self._texts.get("json", b"")
        files = {file.part: file for file in self._files}
        return Upload(json=json_object(text) if text.strip() else {}, files=files)

    # ------------------------------------------------------------------ called by the parser
    def _begin(self) -> None:
        self._headers, self._file, self._text = {}, None, bytearray()
        self._header_name = self._header_value = b""

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition"))
        if disposition != b"form-data" or b"name" not in options:
            raise FormParserError("a part has no name")
        self._part = options[b"name"].decode("utf-8", "replace").replace("\0", "")
        if b"filename" in options:
            if len(self._files) >= MOST_FILES:
                raise FormParserError(f"The number of files exceeded {MOST_FILES}")
            name = options[b"filename"].decode("utf-8", "replace").replace("\0", "")
            base = name.replace("\\", "/").rpartition("/")[2][:255]
            self._file = UploadedFile(self._part, base, self._storage.writer())
            self._files.append(self._file)
        else:
            self._text_count += 1
            if self._text_count > MOST_FIELDS:
                raise FormParserError(f"The number of fields exceeded {MOST_FIELDS}")

    def _data(self, data: bytes, start: int, end: int) -> None:
        piece = memoryview(data)[start:end]
        if self._file is None:
            self._text_size += len(piece)
            if self._text_size > JSON_LIMIT:
                raise TooLarge("Request body is too large.")
            self._text += piece
        elif self._file.too_large:
            self._dropped += len(piece)
        else:
            if self._file.size + len(piece) > self._file_limit:
                self._file.too_large = True
                self._file.writer.discard()
            else:
                self._file.writer.write(piece)

    def _end(self) -> None:
        if self._file is None:
            self._texts[self._part] = bytes(self._text)
        elif not self._file.too_large:
            self._file.writer.close()

    def _finish(self) -> None:
        self._ended = True
