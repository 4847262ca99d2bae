"""JSON answers straight to bytes: orjson, dates in UTC with `Z`, keys as lowercase dashed text."""

import hashlib
import re
import zlib
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def dumps(content: Any) -> bytes:
    """Bytes of the wire form: aware datetimes get `Z`, the fraction goes when it is zero, NaN becomes null."""
    return orjson.dumps(content, option=_OPTIONS)


class JsonAnswer(Response):
    """`JsonAnswer(content, status_code=201)`; `content` may hold datetimes, UUIDs and orjson fragments.

    Bytes are taken for what was rendered already.
    """

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else dumps(content)


ASKED_AGAIN = {
    "Cache-Control": "private, no-cache",
    "Vary": "Accept-Encoding, Authorization, Cookie",
}
"""For what depends on who asks: no shared cache keeps it, and a browser's asks before it shows it again."""
WORTH_PACKING = 1400  # bytes; less fits into one packet anyway
_FAST, _GZIP = 1, 31  # zlib's level and window bits
_CODING = re.compile(r"\s*(gzip|x-gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?$", re.IGNORECASE)


def polled(request: Request, content: Any) -> JsonAnswer:
    """The answer of a read that clients repeat: 304 when they have it already, packed when they ask for it.

    The tag is a digest of the bytes, so all processes of an organization give the same one, and an answer that
    counts seconds (the duration of a running plan) changes it.
    """
    body = dumps(content)
    headers = {"ETag": f'W/"{hashlib.sha256(body).hexdigest()[:32]}"', **ASKED_AGAIN}
    if has_tag(request, headers["ETag"]):
        return JsonAnswer(b"", status_code=304, headers=headers)
    if len(body) >= WORTH_PACKING and _takes_gzip(request.headers.get("accept-encoding", "")):
        packer = zlib.compressobj(_FAST, zlib.DEFLATED, _GZIP)
        body = packer.compress(body) + packer.flush()
        headers["Content-Encoding"] = "gzip"
    return JsonAnswer(body, headers=headers)


def has_tag(request: Request, tag: str) -> bool:
    """Whether `If-None-Match` names it: it compares weakly (RFC 9110, 13.1.2)."""
    opaque = tag.removeprefix("W/")
    given = (entry.strip() for entry in request.headers.get("if-none-match", "").split(","))
    return any(entry == "*" or entry.removeprefix("W/") == opaque for entry in given)


def _takes_gzip(accepted: str) -> bool:
    for entry in accepted.split(","):
        match = _CODING.match(entry)
        if match is not None:
            return match[2] is None or match[2].strip("0.") != ""
    return False
