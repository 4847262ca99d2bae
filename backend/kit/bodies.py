"""Request bodies of small routes: JSON, form-urlencoded or multipart without files, bounded in size."""

from typing import Any

import orjson
from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser

from backend.kit.errors import BadRequest, Invalid, TooLarge, UnsupportedMediaType

LIMIT = 32 * 1024 * 1024
FORM_LIMIT = 2 * 1024 * 1024


def media_type(request: Request) -> str:
    """The bare media type in lower case; empty without a Content-Type."""
    header = request.headers.get("content-type", "")
    return header.partition(";")[0].strip().lower()


async def limited(request: Request, limit: int = LIMIT) -> bytes:
    """The body.

    Raises:
        TooLarge: it has more than `limit` bytes (413).
    """
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge("Request body is too large.")
        chunks.append(chunk)
    return b"".join(chunks)


def json_object(text: bytes | str) -> dict[str, Any]:
    """A JSON object without NULs, which no column of ours can hold.

    Raises:
        BadRequest: not JSON (400 "JSON parse error - …"); Invalid: JSON, but no object.
    """
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"JSON parse error - {error}") from None
    if not isinstance(document, dict):
        found = type(document).__name__
        message = f"Invalid data. Expected a dictionary, but got {found}."
        raise Invalid({"non_field_errors": [message]})
    refuse_nul(document)
    return document


def refuse_nul(document: Any) -> None:
    """Raises Invalid (400) when a text in a JSON document holds a NUL."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and "\0" in value:
            raise Invalid({"non_field_errors": ["Null characters are not allowed."]})
        if isinstance(value, dict):
            waiting.extend(value.keys())
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


async def form(request: Request) -> FormData:
    """The fields of a form, of either encoding, at most 2 MiB of them.

    Raises:
        BadRequest: malformed (400); TooLarge: 413.
    """
    body = await limited(request, FORM_LIMIT)

    async def once() -> Any:
        yield body
        yield b""

    try:
        if media_type(request) == "multipart/form-data":
            _, options = parse_options_header(request.headers["content-type"])
            if not options.get(b"boundary"):
                raise BadRequest("Multipart form parse error - Invalid boundary in multipart: None")
            parser = MultiPartParser(request.headers, once(), max_files=10, max_fields=10_000)
            return await parser.parse()
        return await FormParser(request.headers, once(), max_fields=10_000).parse()
    except MultiPartException as error:
        raise BadRequest(f"Multipart form parse error - {error.message}") from None


async def document(request: Request, *, lists: tuple[str, ...] = ()) -> dict[str, Any]:
    """A body as an object, whatever its encoding; none at all is `{}`.

    Of a form, the last value of a field counts; the fields named in `lists` give all their values.

    Raises:
        BadRequest, Invalid, TooLarge: the body is malformed or too large.
        UnsupportedMediaType: another kind of body (415).
    """
    kind = media_type(request)
    if kind == "application/json":
        body = await limited(request)
        return json_object(body) if body.strip() else {}
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        fields = await form(request)
        result: dict[str, Any] = {}
        for name in fields:
            values = [value for value in fields.getlist(name) if isinstance(value, str)]
            if values:
                result[name] = values if name in lists else values[-1]
        refuse_nul(result)
        return result
    if not await limited(request):
        return {}
    raise UnsupportedMediaType(f'Unsupported media type "{kind}" in request.')
