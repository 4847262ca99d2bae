"""What the supervisor makes of the actors that Ray's dashboard shows."""

import json
from pathlib import Path
from typing import Any

import pytest

from network.ray_watch import PATIENCE, RayWatch


class FakeLayout:
    def __init__(self, folder: Path) -> None:
        self.ray_token_file = folder / "token"
        self.ray_token_file.write_text("t\n")


class FakeState:
    names = ("org-1", "org-2")
    ports = {"ray-dashboard": 1}  # noqa: RUF012


def actor(name: str, state: str, pid: int | None) -> dict[str, Any]:
    return {"name": name, "class_name": "ControlActor", "state": state, "pid": pid}


@pytest.fixture
def watch(tmp_path: Path) -> RayWatch:
    return RayWatch(FakeLayout(tmp_path), FakeState())  # type: ignore[arg-type]


def looks(
    watch: RayWatch,
    monkeypatch: pytest.MonkeyPatch,
    actors: list[dict[str, Any]],
    status: int = 200,
) -> None:
    """More looks than the watch is patient for."""
    body = json.dumps({"data": {"result": {"result": actors}}})
    monkeypatch.setattr("network.probes.get", lambda *given, **named: (status, body))
    for _ in range(PATIENCE + 1):
        watch.look()


def test_living_actors_are_rows(watch: RayWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    looks(watch, monkeypatch, [actor(f"control-org-{n}", "ALIVE", n) for n in (1, 2)])
    assert [(row["name"], row["pid"]) for row in watch.rows()] == [
        ("control-org-1", 1),
        ("control-org-2", 2),
    ]
    assert not watch.missing()


@pytest.mark.parametrize("state", ["RESTARTING", "PENDING_CREATION"])
def test_an_actor_that_ray_restarts_is_no_row_and_not_missing(
    watch: RayWatch, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    actors = [actor("control-org-1", "ALIVE", 1), actor("control-org-2", state, 2)]
    looks(watch, monkeypatch, actors)
    assert [row["name"] for row in watch.rows()] == ["control-org-1"]
    assert not watch.missing()


def test_an_actor_that_stays_away_is_missing(
    watch: RayWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(watch, monkeypatch, [actor("control-org-1", "ALIVE", 1)])
    assert watch.missing()
    watch.forget()
    assert not watch.missing()


def test_a_dashboard_that_does_not_answer_changes_nothing(
    watch: RayWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(watch, monkeypatch, [], status=503)
    assert not watch.missing()
