"""Every route x caller x state of an asset: exactly the answers of `answers.txt` (rest-api.md 2, 3, 18).

A route without rows there fails the first test: whoever adds one says who may call it.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI

from backend.app import create_app
from backend.fixtures.story import key
from backend.settings import Settings
from tests.integration.backend.access.routes.world import (
    CALLERS,
    STATES,
    World,
    asset,
    built,
    path_of,
)
from tests.integration.backend.conftest import settings_on
from tests.integration.conftest import new_database

ANSWERS = Path(__file__).with_name("answers.txt")
Route = tuple[str, str]
Rows = dict[str, dict[str, int]]  # state -> caller -> status
RUNNER = {"json": {"session": str(uuid4()), "wait_s": 0, "leases": []}}
SENT: dict[Route, dict[str, Any]] = {  # everything else goes without a body: 400 means let in
    ("POST", "/api-token/"): {"json": {"expires_at": "2031-01-01"}},
    ("PUT", "/compute_plan/{key}/"): {"json": {"name": "renamed"}},
    ("PUT", "/users-awaiting-approval/"): {"params": {"username": "bystander"}},
    ("DELETE", "/users-awaiting-approval/"): {"params": {"username": "bystander"}},
    ("POST", "/runner/exchange/"): RUNNER,
    ("POST", "/runner/heartbeat/"): RUNNER,
}
ELSEWHERE = ("neighbour", "elsewhere")  # callers that act on another channel


def table() -> dict[Route, Rows]:
    """The file: a line `METHOD path`, below it a line for each state with a status for each caller."""
    found: dict[Route, Rows] = {}
    rows: Rows = {}
    for line in ANSWERS.read_text("utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if not line.startswith(" "):
            rows = found.setdefault((words[0], words[1]), {})
            continue
        assert len(words) == 1 + len(CALLERS), line
        assert words[0] not in rows, line
        statuses = [int(word) for word in words[1:]]
        rows[words[0]] = dict(zip(CALLERS, statuses, strict=True))
    return found


TABLE = table()


def routes_of(routes: Iterable[Any]) -> Iterator[Route]:
    """Every method and path that the application answers, included routers too."""
    for route in routes:
        if hasattr(route, "path"):
            yield from ((method, route.path) for method in route.methods or ())
        else:
            yield from routes_of(route.original_router.routes)


@pytest.fixture(scope="module")
def world(
    postgres: str, _migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with (
        new_database(postgres, _migrated) as url,
        new_database(postgres) as ledger,
        built(settings_on(url, folder), ledger) as made,
    ):
        yield made


def test_every_route_says_who_may_call_it_and_every_row_has_a_route() -> None:
    app: FastAPI = create_app(Settings())
    routes = list(routes_of(app.routes))
    assert len(routes) == len(set(routes)), "two routes with one path"
    assert set(routes) == set(TABLE)
    assert [route for route, rows in TABLE.items() if not rows] == []


@pytest.mark.parametrize(("method", "path"), TABLE, ids=lambda value: value)
def test_callers_get_exactly_these_answers(world: World, method: str, path: str) -> None:
    wrong = []
    for state, expected in TABLE[method, path].items():
        url = "/org-1" + path_of(path, state)
        for caller, status in expected.items():
            world.prepare()
            world.client.cookies.clear()
            answer = world.client.request(
                method, url, headers=world.headers[caller], **SENT.get((method, path), {})
            )
            if answer.status_code != status:
                found = f"{answer.status_code} {answer.text[:100]}"
                wrong.append(f"{caller} on {state}: {found}, expected {status}")
            if caller in ELSEWHERE and (names := named_assets(answer.text) - {state}):
                wrong.append(f"{caller} on {state}: was told of {', '.join(sorted(names))}")
    assert wrong == []


def test_a_leak_would_be_seen(world: World) -> None:
    answer = world.client.get("/org-1/function/", headers=world.headers["admin"])
    assert named_assets(answer.text) == set(STATES)
    plans = world.client.get("/org-1/compute_plan/", headers=world.headers["admin"])
    assert named_assets(plans.text) >= {"own", "foreign"}


def named_assets(content: str) -> set[str]:
    """The states of the assets of mychannel whose keys an answer names."""
    keys = {
        key(asset(family, state)): state
        for family in ("function", "data_manager", "data_sample", "task", "model")
        for state in STATES
    }
    keys |= {key(asset("compute_plan", state)): state for state in ("own", "foreign")}
    found = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", content)
    return {keys[text] for text in found if text in keys}
