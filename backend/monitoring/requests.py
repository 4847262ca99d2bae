"""Counts of HTTP requests and answers, with django-prometheus' names where they mean the same."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.monitoring.counters import Counters, Key, observed

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNNAMED = "<unnamed view>"
BEGUN = "django_http_requests_before_middlewares"
ENDED = "django_http_responses_before_middlewares"
REQUESTS = "django_http_requests_total_by_method"
TRANSPORTS = "django_http_requests_total_by_transport"
RESPONSES = "django_http_responses_total_by_status"
VIEWS = "django_http_responses_total_by_status_view_method"
STREAMING = "django_http_responses_streaming"
EXCEPTIONS = "django_http_exceptions_total_by_type"
LATENCY = "django_http_requests_latency_including_middlewares_seconds"
REQUEST_BYTES = "django_http_requests_body_total_bytes"
RESPONSE_BYTES = "django_http_responses_body_total_bytes"
SECONDS = "substra_http_response_seconds"
EVENT_STREAM = b"text/event-stream"


@dataclass(slots=True)
class _Passed:
    """What was seen of one request and its answer; sizes in bytes."""

    status: int = 0
    received: int = 0
    sent: int = 0
    streaming: bool = False
    error: str = ""

    def answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.streaming = any(
                name == b"content-type" and value.startswith(EVENT_STREAM)
                for name, value in message.get("headers", ())
            )
        elif message["type"] == "http.response.body":
            self.sent += len(message.get("body", b""))


class CountedRequests:
    """ASGI: counts what passes; `counters` gives this process's counts once its node is there.

    Every few seconds one request's end hands the counts to a thread that stores them.
    """

    def __init__(self, app: ASGIApp, counters: Callable[[], Counters | None]) -> None:
        self._app = app
        self._counters = counters
        self._storing: asyncio.Future[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        counters = self._counters()
        if counters is None:
            await self._app(scope, receive, send)
            return
        began, passed = time.perf_counter(), _Passed()

        async def taken() -> Message:
            message = await receive()
            passed.received += len(message.get("body", b""))
            return message

        async def given(message: Message) -> None:
            passed.answer(message)
            await send(message)

        counters.add(BEGUN)
        try:
            await self._app(scope, taken, given)
        except Exception as error:
            passed.error = type(error).__name__
            raise
        finally:
            self._count(counters, scope, passed, time.perf_counter() - began)

    def _count(self, counters: Counters, scope: Scope, passed: _Passed, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        status = str(passed.status or 500)
        transport = "https" if scope.get("scheme") == "https" else "http"
        counters.add_all(
            (
                *_counted(method, transport, status, _view(scope)),
                *observed(REQUEST_BYTES, passed.received),
                *observed(RESPONSE_BYTES, passed.sent),
                *observed(LATENCY, seconds),
                ((SECONDS, ()), seconds),
            )
        )
        if passed.streaming:
            counters.add(STREAMING)
        if passed.error:
            counters.add(EXCEPTIONS, type=passed.error)
        if counters.due and (self._storing is None or self._storing.done()):
            loop = asyncio.get_running_loop()
            self._storing = loop.run_in_executor(None, counters.flush)


@lru_cache(maxsize=1024)
def _counted(method: str, transport: str, status: str, view: str) -> tuple[tuple[Key, float], ...]:
    """What each request of a kind counts; there are few kinds."""
    by_method, by_status = ("method", method), ("status", status)
    return (
        ((REQUESTS, (by_method,)), 1.0),
        ((TRANSPORTS, (("transport", transport),)), 1.0),
        ((RESPONSES, (by_status,)), 1.0),
        ((VIEWS, (by_status, ("view", view), by_method)), 1.0),
        ((ENDED, ()), 1.0),
    )


def _view(scope: Scope) -> str:
    """The route's template, never a path with keys."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else UNNAMED
