"""A server that was told to stop behind a Service: it goes on for a moment, and sends its clients elsewhere."""

import signal
import threading
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from backend.asgi import Server

LEAVE_S = 1.0
WAIT_S = 20.0


def started(leave_s: float) -> tuple[Server, threading.Thread, str]:
    app = FastAPI()
    app.add_api_route("/", lambda: {"here": True})
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off")
    server = Server(config, app, leave_s)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    pause = threading.Event()
    while not server.started:
        assert thread.is_alive()
        pause.wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    return server, thread, f"http://127.0.0.1:{port}/"


@pytest.fixture
def leaving() -> Iterator[tuple[Server, threading.Thread, str]]:
    found = started(LEAVE_S)
    yield found
    found[0].should_exit = True
    found[1].join(WAIT_S)


def test_connections_end_with_the_answer_to_their_next_request(
    leaving: tuple[Server, threading.Thread, str],
) -> None:
    server, thread, address = leaving
    with httpx.Client() as kept:
        assert "connection" not in kept.get(address).headers
        server.handle_exit(signal.SIGTERM, None)
        for _ in range(2):  # on the kept connection, and on a new one
            answer = kept.get(address)
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    thread.join(WAIT_S)
    assert not thread.is_alive()
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_second_signal_ends_the_wait(leaving: tuple[Server, threading.Thread, str]) -> None:
    server, thread, _ = leaving
    for _ in range(2):
        server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit
    thread.join(WAIT_S)
    assert not thread.is_alive()


def test_without_a_time_to_leave_it_stops_at_once() -> None:
    server, thread, _ = started(0)
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit
    thread.join(WAIT_S)
    assert not thread.is_alive()
