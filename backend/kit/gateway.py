"""ASGI wrappers around the application: the prefix, final slashes, HEAD, and the last net for errors."""

from collections.abc import Callable
from urllib.parse import quote

import structlog
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.kit.answers import JsonAnswer

log = structlog.get_logger(__name__)
PROBES = ("/liveness", "/readiness")


class Gateway:
    """Makes Serve (root_path `/org-1`, path `/org-1/info/`) and plain uvicorn (the path alone) the same.

    The prefix becomes root_path exactly once (rules 20 and 26). Probes answer with and without it; everything
    else without it is unknown. A HEAD is answered as a GET without its body.
    """

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = dict(scope)
        if not self._place(scope):
            await JsonAnswer({"detail": "Not found."}, status_code=404)(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope["method"] = "GET"
            scope["substra.head"] = True
            send = _without_body(send)
        await self._guarded(scope, receive, send)

    def _place(self, scope: Scope) -> bool:
        """Set root_path so that what follows it in `path` is the route; False outside the prefix."""
        path: str = scope["path"]
        root: str = scope.get("root_path", "").rstrip("/")
        if root and path.startswith(root + "/"):
            scope["root_path"] = root
            return True
        if root and not path.startswith(root):  # a server that strips: path is below root_path
            scope["path"] = root + path
            return True
        if not self._prefix or path in PROBES:
            scope["root_path"] = ""
            return True
        if path.startswith(self._prefix + "/"):
            scope["root_path"] = self._prefix
            return True
        return False

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A crash becomes a JSON 500, inside the CORS headers, and one log entry."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            log.info("client_went_away", path=scope["path"], method=scope["method"])
        except Exception:
            log.exception("request_crashed", path=scope["path"], method=scope["method"])
            if started:
                raise
            answer = JsonAnswer({"detail": "Internal server error"}, status_code=500)
            await answer(scope, receive, send)


def _without_body(send: Send) -> Send:
    async def headers_only(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return headers_only


def slash_or_not_found(routes: Callable[[], list[BaseRoute]]) -> ASGIApp:
    """The answer for a path without a route: 301 to the path with a final slash when that is one, else 404.

    The Location is relative, so that the external scheme and host stay what they are.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        response = JsonAnswer({"detail": "Not found."}, status_code=404)
        if not path.endswith("/"):
            slashed = {**scope, "path": path + "/"}
            if any(route.matches(slashed)[0] is not Match.NONE for route in routes()):
                query = scope.get("query_string", b"").decode("latin-1")
                location = quote(path + "/", safe="/:@!$&'()*+,;=~-._") + (
                    f"?{query}" if query else ""
                )
                response = JsonAnswer({}, status_code=301, headers={"Location": location})
        await response(scope, receive, send)

    return answer
