"""Reads run whole in one thread: credentials, rules, queries and the answer's bytes (rule 11).

FastAPI sends each dependency of a route to a thread and back, and looks for a route by trying one after
another: for an answer of a millisecond that is most of the work. `Reads` stands before it and takes the GET
routes whose declarations need nothing but the request: plain functions with path parameters that are texts.
They are declared to FastAPI as all others are, and answered by it where `Reads` is absent.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_type_hints

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Answer = Callable[[Request, Exception], Response | None]
Parameters = Mapping[str, str]
Values = dict[Callable[..., Any], Any]
ANY = "/"  # stands for a parameter: no part of a path is like it


class Step:
    """One function of a route's tree of dependencies, and what each of its arguments is."""

    def __init__(self, dependant: Dependant) -> None:
        assert dependant.call is not None
        self._call = dependant.call
        self._request = dependant.request_param_name
        self._paths = [(field.name, field.alias) for field in dependant.path_params]
        self._before = [(below.name, Step(below)) for below in dependant.dependencies]

    def run(self, request: Request, parameters: Parameters, known: Values) -> Any:
        """Its value; `known` holds those of functions that ran already for this request."""
        if self._call in known:
            return known[self._call]
        arguments: dict[str, Any] = {}
        for name, step in self._before:
            value = step.run(request, parameters, known)
            if name is not None:
                arguments[name] = value
        for name, alias in self._paths:
            arguments[name] = parameters[alias]
        if self._request is not None:
            arguments[self._request] = request
        value = known[self._call] = self._call(**arguments)
        return value


def _is_plain(dependant: Dependant) -> bool:
    """Whether a function, and all that it depends on, needs only the request and texts of the path."""
    call = dependant.call
    unwanted = (
        dependant.query_params
        or dependant.header_params
        or dependant.cookie_params
        or dependant.body_params
        or dependant.http_connection_param_name
        or dependant.response_param_name
        or dependant.background_tasks_param_name
        or dependant.security_scopes_param_name
    )
    if unwanted or not (inspect.isfunction(call) or inspect.isclass(call)):
        return False
    if inspect.iscoroutinefunction(call) or inspect.isgeneratorfunction(call):
        return False
    if inspect.isasyncgenfunction(call):
        return False
    texts = all(field.field_info.annotation is str for field in dependant.path_params)
    return texts and all(_is_plain(below) for below in dependant.dependencies)


def can_be_read(route: APIRoute) -> bool:
    """Whether a route is a GET that one thread can answer alone."""
    if route.methods != {"GET"} or not _is_plain(route.dependant):
        return False
    returned = get_type_hints(route.endpoint).get("return")
    return inspect.isclass(returned) and issubclass(returned, Response)


class RouteIndex:
    """Routes by their path: one lookup for each arrangement of parameters, however many routes there are."""

    def __init__(self, routes: Iterable[APIRoute]) -> None:
        self._steps: dict[tuple[str, ...], tuple[Step, list[tuple[int, str]]]] = {}
        arrangements: dict[int, set[tuple[int, ...]]] = {}
        for route in routes:
            parts = route.path_format.split("/")
            places = [(n, part[1:-1]) for n, part in enumerate(parts) if part.startswith("{")]
            key = tuple(ANY if part.startswith("{") else part for part in parts)
            self._steps.setdefault(key, (Step(route.dependant), places))
            arrangements.setdefault(len(parts), set()).add(tuple(n for n, _ in places))
        # Fixed parts go before parameters, as they do in the order in which routes are declared.
        self._arrangements = {n: sorted(found, key=len) for n, found in arrangements.items()}

    def find(self, path: str) -> tuple[Step, dict[str, str]] | None:
        """The route's function and the texts of its parameters; None when no route has this path."""
        parts = path.split("/")
        for places in self._arrangements.get(len(parts), ()):
            masked = parts.copy()
            for place in places:
                masked[place] = ANY
            found = self._steps.get(tuple(masked))
            if found is not None and all(parts[place] for place in places):
                step, names = found
                return step, {name: parts[place] for place, name in names}
        return None


class Reads:
    """ASGI: answers the reads among `routes` in a thread of `threads`, and leaves all else to `app`.

    `answer` makes a response of an exception, or None when it is not its own to answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: Iterable[APIRoute],
        threads: ThreadPoolExecutor,
        answer: Answer,
    ) -> None:
        self._app = app
        self._index = RouteIndex(route for route in routes if can_be_read(route))
        self._threads = threads
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = None
        if scope["type"] == "http" and scope["method"] == "GET":
            path: str = scope["path"]
            found = self._index.find(path.removeprefix(scope.get("root_path", "")))
        if found is None:
            await self._app(scope, receive, send)
            return
        await self._read(*found, scope, receive, send)

    async def _read(
        self, step: Step, parameters: Parameters, scope: Scope, receive: Receive, send: Send
    ) -> None:
        request, started = Request(scope, receive), False
        scope["path_params"] = parameters

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(self._threads, step.run, request, parameters, {})
            await response(scope, receive, watched)
        except Exception as error:
            refusal = None if started else self._answer(request, error)
            if refusal is None:
                raise
            await refusal(scope, receive, send)
