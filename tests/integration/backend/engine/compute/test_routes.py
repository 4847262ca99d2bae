"""The runner routes over HTTP: who may ask, what a bad question gets, and how a long poll ends."""

import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from backend.app import create_app
from backend.engine.compute.routes import gate
from backend.engine.compute.sessions import NewSession, SessionStore
from backend.engine.compute.wakeups import Wakeups
from backend.node import Node
from backend.settings import Settings
from tests.integration.backend.conftest import serving

EXCHANGE, HEARTBEAT = "/org-1/runner/exchange/", "/org-1/runner/heartbeat/"


@pytest.fixture
def application(settings: Settings, node: Node) -> FastAPI:
    return create_app(settings, node)


@pytest.fixture
def client(application: FastAPI) -> Iterator[httpx.Client]:
    with serving(application) as client:
        yield client


@pytest.fixture
def runner(client: httpx.Client, node: Node) -> NewSession:
    """A session whose token the client sends."""
    with node.database.transaction() as session:
        new = SessionStore(session).open(node.settings.SECRET_KEY, "runner-org-1-0")
    client.headers["Authorization"] = f"Bearer {new.token}"
    return new


def test_a_runner_without_work_gets_an_empty_answer_in_time(
    client: httpx.Client, runner: NewSession
) -> None:
    started = time.monotonic()
    answer = client.post(EXCHANGE, json={"session": str(runner.id), "wait_s": 0.3})
    assert (answer.status_code, answer.json()) == (200, {"cancel": []})
    assert 0.25 < time.monotonic() - started < 5


def test_a_wrong_token_and_an_unknown_session_look_the_same(
    client: httpx.Client, runner: NewSession
) -> None:
    unknown = client.post(EXCHANGE, json={"session": str(uuid4()), "wait_s": 0})
    client.headers["Authorization"] = "Bearer nonsense"
    wrong = client.post(HEARTBEAT, json={"session": str(runner.id), "leases": []})
    del client.headers["Authorization"]
    missing = client.post(EXCHANGE, json={"session": str(runner.id), "wait_s": 0})
    assert [a.status_code for a in (unknown, wrong, missing)] == [401, 401, 401]
    assert unknown.json() == wrong.json()


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"session": "x"}', b'{"wait_s": -1}'])
def test_a_bad_body_is_a_clear_400(client: httpx.Client, runner: NewSession, body: bytes) -> None:
    answer = client.post(EXCHANGE, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert isinstance(answer.json(), dict)


def test_leases_that_nobody_knows_are_lost(client: httpx.Client, runner: NewSession) -> None:
    task = str(uuid4())
    leases = [{"task": task, "lock_token": "a" * 32}]
    answer = client.post(HEARTBEAT, json={"session": str(runner.id), "leases": leases})
    assert answer.json() == {"lost": [task], "cancel": []}


def test_the_drain_ends_a_long_poll(
    client: httpx.Client, runner: NewSession, application: FastAPI
) -> None:
    here = gate(application)
    timer = threading.Timer(0.3, here.drain)
    timer.start()
    started = time.monotonic()
    answer = client.post(EXCHANGE, json={"session": str(runner.id), "wait_s": 15})
    timer.join()
    assert (answer.status_code, answer.json()) == (200, {"cancel": []})
    assert time.monotonic() - started < 5


def _cancel_all(node: Node, canceled: list[float]) -> None:
    """As another process does it; the moment is appended."""
    with node.database.transaction() as session:
        session.connection().execute(text("UPDATE work SET canceled = true"))
    canceled.append(time.monotonic())
    elsewhere = Wakeups(node.database)
    elsewhere.wake({"cancel"})
    elsewhere.close()


def test_a_held_heartbeat_tells_a_cancel_at_once(
    client: httpx.Client, runner: NewSession, node: Node
) -> None:
    task, token = str(uuid4()), "a" * 32
    execute = (
        "INSERT INTO work (kind, key, channel, priority, state, attempts, canceled, lock_token, session) "
        "VALUES ('task', :task, 'mychannel', 0, 'leased', 1, false, :token, :session)"
    )
    with node.database.transaction() as session:
        session.connection().execute(
            text(execute), {"task": task, "token": token, "session": runner.id}
        )
    canceled: list[float] = []
    timer = threading.Timer(0.4, _cancel_all, (node, canceled))
    timer.start()
    leases = [{"task": task, "lock_token": token}]
    answer = client.post(HEARTBEAT, json={"session": str(runner.id), "leases": leases})
    ended = time.monotonic()
    timer.join()
    assert answer.json() == {"lost": [], "cancel": [task]}
    assert ended - canceled[0] < 1


def test_a_heartbeat_without_a_cancel_is_answered_before_the_next_is_due(
    client: httpx.Client, runner: NewSession
) -> None:
    began = time.monotonic()
    client.post(HEARTBEAT, json={"session": str(runner.id), "leases": []})
    assert time.monotonic() - began < 1
