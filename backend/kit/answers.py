"""JSON answers straight to bytes: orjson, dates in UTC with `Z`, keys as lowercase dashed text."""

from typing import Any

import orjson
from fastapi.responses import Response

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def dumps(content: Any) -> bytes:
    """Bytes of the wire form: aware datetimes get `Z`, the fraction goes when it is zero, NaN becomes null."""
    return orjson.dumps(content, option=_OPTIONS)


class JsonAnswer(Response):
    """`JsonAnswer(content, status_code=201)`; `content` may hold datetimes, UUIDs and orjson fragments."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return dumps(content)
