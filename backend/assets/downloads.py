"""Files behind permissions: ours from the storage, others' streamed through us (rest-api.md 18 and 19).

A route asks its room for a `Download` and returns `answer(...)`. The order of checks is the contract's:
isolated (410), key syntax (400), unknown (404), permission (403), no content (410), then the bytes.
"""

import os
import re
import sys
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import anyio.to_thread
import httpx
import structlog
from fastapi import Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from backend.access.caller import Caller
from backend.assets.stored_answer import StoredAnswer, asked_range
from backend.kit.answers import ASKED_AGAIN, has_tag
from backend.kit.errors import Gone, PeerUnreachable, PermissionDenied
from backend.node import Node
from backend.ports.storage import StoredFileMissing

log = structlog.get_logger(__name__)
BINARY = "application/octet-stream"
MARKDOWN = "text/markdown; charset=utf-8"
CHUNK = 256 * 1024
REOPENINGS = 4  # attempts to go on with a cut transfer, over about 3 s
EXPOSED = {"Access-Control-Expose-Headers": "Content-Disposition"}
GUARDED = {"X-Content-Type-Options": "nosniff", **ASKED_AGAIN}
ASKED_ON = ("range", "if-range", "if-none-match")
HANDED_ON = {
    *("content-type", "content-length", "content-disposition", "content-encoding"),
    *("content-range", "accept-ranges", "etag", "last-modified"),
}
HARMLESS = (BINARY, "text/plain", "text/markdown", "application/json", "application/zip")


@dataclass(frozen=True, slots=True)
class Download:
    """A file that the caller may have.

    `owner`: the organization that holds it. `path`: where it is read there, below its address, as in
    `function/<key>/file/`. `local`: our own file, a storage key or a path; None when there is no content.
    `checksum`: what the ledger names; it is the file's ETag, by which a cut transfer is resumed.
    """

    owner: str
    path: str
    name: str
    checksum: str
    local: str | Path | None = None
    media_type: str = BINARY
    compressible: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {
            **EXPOSED,
            "ETag": f'"{self.checksum}"',
            "Content-Disposition": _attachment(self.name),
            **GUARDED,
        }


def check_not_isolated(node: Node) -> None:
    """Raises Gone (410) when this API runs alone."""
    if node.settings.ISOLATED:
        raise Gone("Asset not available in isolated mode")


def check_permitted(caller: Caller, *, public: bool, authorized_ids: Iterable[str]) -> None:
    """An organization counts as itself, a user as its organization.

    Raises:
        PermissionDenied: neither public nor in the list (403 "Unauthorized").
    """
    if not public and caller.organization not in authorized_ids:
        raise PermissionDenied("Unauthorized")


def answer(request: Request, node: Node, caller: Caller, download: Download) -> Response:
    """The response with the bytes; ranges, conditions and HEAD included.

    Raises:
        Gone: our own file is not there (410).
    """
    if download.owner != node.own:
        return ProxiedAnswer(request, node, caller, download)
    if download.local is None:
        raise Gone
    path, compressed = download.local, _is_compressed(request, node, download)
    try:
        if isinstance(path, str) and not node.storage.is_local and not compressed:
            kind, headers = download.media_type, download.headers
            return StoredAnswer(request, node.storage, path, kind, headers)
        if isinstance(path, str):
            path = node.storage.local_path(path)
    except StoredFileMissing:
        raise Gone from None
    if not path.is_file():
        raise Gone
    if compressed:
        return StreamingResponse(
            _compressed(path),
            media_type=download.media_type,
            headers={
                **download.headers,
                "ETag": f'W/"{download.checksum}"',
                "Content-Encoding": "gzip",
            },
        )
    return FileAnswer(path, download)


class FileAnswer(FileResponse):
    """A local file: whole, a range of it, its headers only, or 304 for who has it already."""

    chunk_size = CHUNK

    def __init__(self, path: Path, download: Download) -> None:
        super().__init__(
            path,
            media_type=download.media_type,
            headers=download.headers,
        )
        self._download = download

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if has_tag(Request(scope), self._download.headers["ETag"]):
            await Response(None, 304, self._download.headers)(scope, receive, send)
            return
        try:
            self.stat_result = await anyio.to_thread.run_sync(os.stat, self.path)
        except FileNotFoundError:  # deleted since it was looked for
            raise Gone from None
        self.set_stat_headers(self.stat_result)
        head = bool(scope.get("substra.head"))
        if head or not _is_range(Request(scope), self.stat_result.st_size):
            scope = {**scope, "headers": [h for h in scope["headers"] if h[0] != b"range"]}
        await super().__call__({**scope, "method": "HEAD"} if head else scope, receive, send)


class ProxiedAnswer(Response):
    """A file of another organization, passed on as it comes; opened only when the answer is sent.

    When the owner's connection is cut in the middle, the rest is asked for, so that the client notices nothing.

    Raises (before anything is sent) PeerRefused for the owner's 401, 403, 404 and 410, PeerUnreachable (504).
    """

    def __init__(self, request: Request, node: Node, caller: Caller, download: Download) -> None:
        super().__init__()
        self._node = node
        self._channel = caller.channel
        self._download = download
        self._request = request
        asked = {name: request.headers.get(name) for name in ASKED_ON}
        if request.scope.get("substra.head") or not _is_range(request, sys.maxsize):
            del asked["range"]
        self._asked = {name: value for name, value in asked.items() if value}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange, download = self._node.exchange, self._download
        async with exchange.stream(
            download.owner, self._channel, download.path, self._asked
        ) as upstream:
            headers, status = _passed_on(upstream, download), upstream.status_code
            if status == 200 and has_tag(self._request, headers["etag"]):
                status = 304  # an owner who knows no tags
            if status == 304:
                headers.pop("content-length", None)
            if scope.get("substra.head") or status == 304:
                await Response(None, status, headers)(scope, receive, send)
                return
            response = StreamingResponse(self._pieces(upstream), status, headers)
            try:
                await response(scope, receive, send)
            except httpx.HTTPError as error:  # cut in the middle: the client sees a short body
                log.warning("proxied_download_cut", owner=download.owner, error=repr(error))
                raise

    async def _pieces(self, upstream: httpx.Response) -> AsyncIterator[bytes]:
        """The owner's bytes. Raises httpx.HTTPError, PeerUnreachable: cut, and there is no going on."""
        span, etag = _span(upstream), upstream.headers.get("etag", "")
        position = before = span[0] if span else 0
        async with AsyncExitStack() as opened:
            while True:
                try:
                    async for piece in upstream.aiter_raw(CHUNK):
                        position += len(piece)
                        yield piece
                    return
                except httpx.HTTPError as error:
                    if span is None or not etag.startswith('"') or position == before:
                        raise
                    log.info("proxied_download_goes_on", owner=self._download.owner, at=position)
                    wanted = {"range": f"bytes={position}-{span[1]}", "if-range": etag}
                    upstream = await self._again(opened, wanted)
                    if _span(upstream) != (position, span[1]):
                        raise error from None
                    before = position

    async def _again(self, opened: AsyncExitStack, wanted: dict[str, str]) -> httpx.Response:
        exchange, download = self._node.exchange, self._download
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(PeerUnreachable),
            stop=stop_after_attempt(REOPENINGS),
            wait=wait_exponential(multiplier=0.4, max=2),
            reraise=True,
        ):
            with attempt:
                return await opened.enter_async_context(
                    exchange.stream(download.owner, self._channel, download.path, wanted)
                )
        raise PeerUnreachable


def _is_range(request: Request, size: int) -> bool:
    """One range of bytes, be it beyond the end; anything else in the header is ignored (RFC 9110, 14.2)."""
    return asked_range(request.headers.get("range", ""), size) is not None


def _passed_on(upstream: httpx.Response, download: Download) -> dict[str, str]:
    """The owner's headers that describe the bytes; it does not decide what a browser makes of them."""
    headers = {name: value for name, value in upstream.headers.items() if name in HANDED_ON}
    ours = {name.lower(): value for name, value in download.headers.items()}
    if not headers.get("content-type", BINARY).startswith(HARMLESS):
        headers["content-type"] = BINARY
    if not headers.get("content-disposition", "").startswith("attachment"):
        headers["content-disposition"] = ours["content-disposition"]
    return {**ours, **headers} if upstream.status_code == 200 else {**headers, **EXPOSED, **GUARDED}


_RANGE = re.compile(r"bytes (\d+)-(\d+)/\d+")


def _span(response: httpx.Response) -> tuple[int, int] | None:
    """First and last position of the bytes in a 200 or 206; None when they are not known."""
    if response.status_code == 206:
        found = _RANGE.fullmatch(response.headers.get("content-range", ""))
        return (int(found[1]), int(found[2])) if found else None
    length = response.headers.get("content-length", "")
    if response.status_code != 200 or not length.isdigit():
        return None
    return (0, int(length) - 1)


def _is_compressed(request: Request, node: Node, download: Download) -> bool:
    """A range is of the bytes themselves, so it excludes compression."""
    if not (download.compressible and node.settings.GZIP_MODELS):
        return False
    accepted = request.headers.get("accept-encoding", "").replace(" ", "").lower().split(",")
    return "gzip" in accepted and "range" not in request.headers


def _compressed(path: Path) -> Iterator[bytes]:
    """The file as gzip, piece by piece."""
    compressor = zlib.compressobj(wbits=31)
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            if piece := compressor.compress(data):
                yield piece
    yield compressor.flush()


def _attachment(name: str) -> str:
    """`attachment; filename="…"`, with the other form for names beyond ASCII."""
    plain = name.encode("ascii", "ignore").decode().replace('"', "").replace("\\", "")
    plain = "".join(letter for letter in plain if letter.isprintable())
    header = f'attachment; filename="{plain or "file"}"'
    return header if plain == name else f"{header}; filename*=utf-8''{quote(name, safe='')}"
