"""A file that lies in a remote store, passed on as it is read: whole, one range of it, or its headers only."""

import re
from collections.abc import Iterator, Mapping

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from backend.kit.answers import has_tag
from backend.ports.storage import Storage, StoredFileMissing

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last position of a Range header within `size` bytes; None: what it says is to be ignored.

    An empty range (first after last) cannot be satisfied. Several ranges are ignored, as RFC 9110 allows.
    """
    found = _RANGE.match(header.replace(" ", ""))
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size - 1
    first, last = int(found[1]), int(found[2] or size - 1)
    if found[2] and first > last:
        return None
    return first, min(last, size - 1)


class StoredAnswer(Response):
    """The bytes go through this process piece by piece; its disk sees nothing of them.

    Raises (at the making, in a thread of its own) StoredFileMissing, StorageUnavailable.
    """

    def __init__(
        self,
        request: Request,
        storage: Storage,
        key: str,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__()
        self._storage = storage
        self._key = key
        self._type = media_type
        self._size = storage.size(key)
        self._own = {**headers, "Accept-Ranges": "bytes"}
        asked, condition = request.headers.get("range"), request.headers.get("if-range")
        if asked is None or condition not in (None, headers["ETag"]):
            self._range = None
        else:
            self._range = asked_range(asked, self._size)
        self._unchanged = has_tag(request, headers["ETag"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(bool(scope.get("substra.head")))(scope, receive, send)

    def _answer(self, head: bool) -> Response:
        if self._unchanged:
            return Response(None, 304, self._own)
        first, last, status, headers = 0, self._size - 1, 200, dict(self._own)
        if self._range is not None:
            first, last = self._range
            if first > last:
                return Response(None, 416, {"Content-Range": f"bytes */{self._size}"})
            status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{self._size}"
        headers["Content-Length"] = str(last - first + 1)
        if head:
            return Response(None, status, headers, self._type)
        pieces = self._pieces(first, last - first + 1)
        return StreamingResponse(pieces, status, headers, self._type)

    def _pieces(self, start: int, length: int) -> Iterator[bytes]:
        try:
            yield from self._storage.read(self._key, start, length)
        except StoredFileMissing:  # deleted since it was looked for: the client sees a short body
            raise ConnectionAbortedError(f"{self._key} vanished") from None
