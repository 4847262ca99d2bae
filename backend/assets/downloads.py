"""Files behind permissions: ours from the storage, others' streamed through us (rest-api.md 18 and 19).

A route asks its room for a `Download` and returns `answer(...)`. The order of checks is the contract's:
isolated (410), key syntax (400), unknown (404), permission (403), no content (410), then the bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import structlog
from fastapi import Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from backend.access.caller import Caller
from backend.kit.errors import Gone, PermissionDenied
from backend.node import Node
from backend.ports.storage import StoredFileMissing

log = structlog.get_logger(__name__)
BINARY = "application/octet-stream"
MARKDOWN = "text/markdown; charset=utf-8"
CHUNK = 256 * 1024
EXPOSED = {"Access-Control-Expose-Headers": "Content-Disposition"}
ASKED_ON = ("range", "if-range")
HANDED_ON = {
    *("content-type", "content-length", "content-disposition", "content-encoding"),
    *("content-range", "accept-ranges", "etag", "last-modified"),
}


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
    """The response with the bytes; ranges and HEAD included.

    Raises:
        Gone: our own file is not there (410).
    """
    if download.owner != node.own:
        return ProxiedAnswer(request, node, caller, download)
    if download.local is None:
        raise Gone
    path = download.local
    if isinstance(path, str):
        try:
            path = node.storage.local_path(path)
        except StoredFileMissing:
            raise Gone from None
    elif not path.is_file():
        raise Gone
    return FileAnswer(path, download)


class FileAnswer(FileResponse):
    """A local file: whole, a range of it, or its headers only."""

    chunk_size = CHUNK

    def __init__(self, path: Path, download: Download) -> None:
        super().__init__(
            path,
            media_type=download.media_type,
            headers={
                **EXPOSED,
                "ETag": f'"{download.checksum}"',
                "Content-Disposition": _attachment(download.name),
                "X-Content-Type-Options": "nosniff",
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("substra.head"):
            scope = {**scope, "method": "HEAD"}
        await super().__call__(scope, receive, send)


class ProxiedAnswer(Response):
    """A file of another organization, passed on as it comes; opened only when the answer is sent.

    Raises (before anything is sent) PeerRefused for the owner's 401, 403, 404 and 410, PeerUnreachable (504).
    """

    def __init__(self, request: Request, node: Node, caller: Caller, download: Download) -> None:
        super().__init__()
        self._node = node
        self._channel = caller.channel
        self._download = download
        asked = {name: request.headers.get(name) for name in ASKED_ON}
        self._asked = {name: value for name, value in asked.items() if value}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange, download = self._node.exchange, self._download
        async with exchange.stream(
            download.owner, self._channel, download.path, self._asked
        ) as upstream:
            headers = {name: value for name, value in upstream.headers.items() if name in HANDED_ON}
            headers, status = {**headers, **EXPOSED}, upstream.status_code
            if scope.get("substra.head"):
                await Response(None, status, headers)(scope, receive, send)
                return
            response = StreamingResponse(upstream.aiter_raw(CHUNK), status, headers)
            try:
                await response(scope, receive, send)
            except httpx.HTTPError as error:  # cut in the middle: the client sees a short body
                log.warning("proxied_download_cut", owner=download.owner, error=repr(error))
                raise


def _attachment(name: str) -> str:
    """`attachment; filename="…"`, with the other form for names beyond ASCII."""
    plain = name.encode("ascii", "ignore").decode().replace('"', "").replace("\\", "")
    plain = "".join(letter for letter in plain if letter.isprintable())
    header = f'attachment; filename="{plain or "file"}"'
    return header if plain == name else f"{header}; filename*=utf-8''{quote(name, safe='')}"
