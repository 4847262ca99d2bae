"""What an exception looks like on the wire: bodies and statuses of rest-api.md 2."""

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import Match

from backend.kit.answers import JsonAnswer
from backend.kit.errors import ApiError

log = structlog.get_logger(__name__)
RETRY_AFTER_S = 2


def register(app: FastAPI) -> None:
    for kind, handler in _handlers().items():
        app.add_exception_handler(kind, handler)


def answer_to(request: Request, error: Exception) -> JsonAnswer | None:
    """What a registered handler makes of an exception; None when there is none for it."""
    handlers = _handlers()
    for kind in type(error).__mro__:
        if kind in handlers:
            return handlers[kind](request, error)
    return None


def _handlers() -> dict[type[Exception], Callable[[Request, Exception], JsonAnswer]]:
    return {
        ApiError: _api_error,
        RequestValidationError: _validation,
        HTTPException: _http,
        DBAPIError: _database,
        PoolTimeout: _overloaded,
    }


def _api_error(request: Request, error: Exception) -> JsonAnswer:
    assert isinstance(error, ApiError)
    headers = dict(error.headers)
    if error.status_code in (502, 503, 504):
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    if error.status_code >= 500:
        log.warning("request_failed", path=request.url.path, error=str(error))
    return JsonAnswer(error.body(), status_code=error.status_code, headers=headers)


_TEXTS = {
    "missing": "This field is required.",
    "none_required": "This field may not be null.",
    "uuid_parsing": "Must be a valid UUID.",
    "uuid_type": "Must be a valid UUID.",
    "string_type": "Not a valid string.",
    "string_too_short": "This field may not be blank.",
    "bool_parsing": "Must be a valid boolean.",
    "bool_type": "Must be a valid boolean.",
    "int_parsing": "A valid integer is required.",
    "int_type": "A valid integer is required.",
}


def field_messages(errors: Sequence[Any], *, skip: int = 0) -> dict[str, list[str]]:
    """pydantic's errors as the contract's object of lists; `skip` leading location parts are left out."""
    fields: dict[str, list[str]] = {}
    for error in errors:
        location = [str(part) for part in error["loc"][skip:]]
        name = location[0] if location else "non_field_errors"
        kind = error["type"]
        if kind.endswith("_type") and error.get("input", 0) is None:
            kind = "none_required"
        message = _TEXTS.get(kind) or str(error["msg"]).removeprefix("Value error, ")
        if kind == "string_too_long":
            message = f"Ensure this field has no more than {error['ctx']['max_length']} characters."
        if len(location) > 1:
            message = f"{'.'.join(location[1:])}: {message}"
        fields.setdefault(name, []).append(message)
    return fields


def _validation(request: Request, error: Exception) -> JsonAnswer:
    """FastAPI's 422 is the contract's 400; a malformed key in a path is an unknown asset."""
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    if any(entry["loc"][:1] == ("path",) for entry in errors):
        return JsonAnswer({"detail": "Not found."}, status_code=404)
    for entry in errors:
        if entry["type"] == "json_invalid":
            reason = entry.get("ctx", {}).get("error", "invalid")
            return JsonAnswer({"detail": f"JSON parse error - {reason}"}, status_code=400)
    return JsonAnswer(field_messages(errors, skip=1), status_code=400)


def _http(request: Request, error: Exception) -> JsonAnswer:
    assert isinstance(error, HTTPException)
    detail: Any = error.detail
    if error.status_code == 404:
        detail = "Not found."
    elif error.status_code == 405:
        detail = f'Method "{request.method}" not allowed.'
    elif error.status_code == 400 and detail == "There was an error parsing the body":
        detail = "JSON parse error - the body is not UTF-8 JSON"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed(request)
    return JsonAnswer({"detail": detail}, status_code=error.status_code, headers=headers)


def _allowed(request: Request) -> str:
    """The methods of every route of the path; the exception knows those of the first one only."""
    methods: set[str] = set()
    for route in request.app.state.api_routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))


def _database(request: Request, error: Exception) -> JsonAnswer:
    """A database that is gone for a moment is 503 (the SDK repeats); a value that it refuses is bad input."""
    assert isinstance(error, DBAPIError)
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return _overloaded(request, error)
    if isinstance(error, DataError):
        log.warning("value_refused_by_database", path=request.url.path)
        return JsonAnswer({"detail": "A value is out of range or malformed."}, status_code=400)
    raise error


def _overloaded(request: Request, error: Exception) -> JsonAnswer:
    log.warning("database_unavailable", path=request.url.path, error=type(error).__name__)
    return JsonAnswer(
        {"detail": "Service unavailable"},
        status_code=503,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
