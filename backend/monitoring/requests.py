"""Counts of HTTP requests by method and status, with django-prometheus' names where they mean the same."""

import asyncio
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.monitoring.counters import Counters

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUESTS = "django_http_requests_total_by_method"
RESPONSES = "django_http_responses_total_by_status"
SECONDS = "substra_http_response_seconds"


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
        began, status = time.perf_counter(), 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            self._count(scope["method"], status, time.perf_counter() - began)

    def _count(self, method: str, status: int, seconds: float) -> None:
        counters = self._counters()
        if counters is None:
            return
        counters.add(REQUESTS, method=method if method in METHODS else "other")
        counters.add(RESPONSES, status=str(status or 500))
        counters.add(SECONDS, seconds)
        if counters.due and (self._storing is None or self._storing.done()):
            loop = asyncio.get_running_loop()
            self._storing = loop.run_in_executor(None, counters.flush)
