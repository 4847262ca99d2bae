"""Reads in one thread: which routes they take, how a path finds its route, and what a failure becomes."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope, Send

from backend.app import ROUTERS
from backend.kit.errors import NotFound
from backend.kit.exception_answers import answer_to
from backend.kit.reading import Reads, RouteIndex, can_be_read

router = APIRouter()
asked: list[str] = []


def who(request: Request) -> str:
    asked.append("who")
    return request.headers.get("who", "nobody")


def greeting(name: Annotated[str, Depends(who)]) -> str:
    return f"{name} in {threading.current_thread().name}"


async def later() -> str:
    return "later"


@router.get("/thing/")
def listed(text: Annotated[str, Depends(greeting)], name: Annotated[str, Depends(who)]) -> Response:
    return Response(f"{text}, {name}")


@router.get("/thing/special/")
def special() -> Response:
    return Response("special")


@router.get("/thing/{key}/part/{part}/")
def part_of(key: str, part: str) -> Response:
    return Response(f"{key} {part}")


@router.get("/thing/{key}/")
def shown(key: str) -> Response:
    if key == "unknown":
        raise NotFound.of("Thing")
    if key == "broken":
        raise RuntimeError
    return Response(key)


@router.get("/waits/")
def waits(text: Annotated[str, Depends(later)]) -> Response:
    return Response(text)


@router.get("/queries/")
def queries(size: int) -> Response:
    return Response(str(size))


@router.get("/numbers/{number}/")
def numbers(number: int) -> Response:
    return Response(str(number))


@router.get("/documents/")
def documents() -> dict[str, str]:
    return {}


@router.post("/thing/")
def added() -> Response:
    return Response()


ROUTES = [route for route in router.routes if isinstance(route, APIRoute)]
READ = ["/thing/", "/thing/special/", "/thing/{key}/part/{part}/", "/thing/{key}/"]


def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Status and body; (0, b"") when the request was left to the application behind."""
    sent: list[Message] = []

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 0})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": f"/root{path}",
        "root_path": "/root",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    with ThreadPoolExecutor(1, thread_name_prefix="read") as threads:
        reads = Reads(behind, routes=ROUTES, threads=threads, answer=answer_to)
        asyncio.run(reads(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def test_only_plain_reads_are_taken() -> None:
    assert [route.path for route in ROUTES if can_be_read(route)] == READ


def test_whole_read_runs_in_one_thread_and_asks_each_dependency_once() -> None:
    asked.clear()
    assert ask("/thing/", who="me") == (200, b"me in read_0, me")
    assert asked == ["who"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/thing/special/", b"special"),
        ("/thing/x/", b"x"),
        ("/thing/special/part/2/", b"special 2"),
    ],
)
def test_path_finds_its_route(path: str, body: bytes) -> None:
    assert ask(path) == (200, body)


@pytest.mark.parametrize(
    "path",
    ["/", "", "/thing", "/thing//", "/thing/x/part//", "/thing/x/y/", "/waits/", "/nothing/"],
)
def test_what_is_no_plain_read_is_left_to_the_application(path: str) -> None:
    assert ask(path) == (0, b"")


def test_other_methods_are_left_to_the_application() -> None:
    assert ask("/thing/", "POST") == (0, b"")


def test_refusal_becomes_its_answer() -> None:
    body = b'{"detail":"No Thing matches the given query."}'
    assert ask("/thing/unknown/") == (404, body)


def test_crash_is_not_answered_here() -> None:
    with pytest.raises(RuntimeError):
        ask("/thing/broken/")


def test_every_list_of_the_application_is_read_in_one_thread() -> None:
    every = [route for one in ROUTERS for route in one.routes if isinstance(route, APIRoute)]
    index = RouteIndex(route for route in every if can_be_read(route))
    key = "/00000000-0000-0000-0000-000000000000/"
    for name in ("function", "data_manager", "data_sample", "compute_plan", "task", "model"):
        assert index.find(f"/{name}/") is not None
        assert index.find(f"/{name}{key}") is not None
    for name in ("performance", "news_feed", "info", "organization", "compute_plan_metadata"):
        assert index.find(f"/{name}/") is not None
    for name in ("task", "functions", "perf", "workflow_graph"):
        assert index.find(f"/compute_plan{key}{name}/") is not None
