"""How the walk of crash points groups them and what it tells; its network is a double."""

from pathlib import Path

import pytest

from tests.chaos import walk as module
from tests.chaos.armory import Armory
from tests.chaos.scenarios import Story
from tests.chaos.walk import Step, Walk, mixed


def test_points_of_one_kind_are_far_apart() -> None:
    points = ["ledger.a", "ledger.b", "runner.a", "store.a", "commit.a", "commit.b"]
    assert mixed(points, 3) == [
        ["ledger.a", "runner.a", "store.a"],
        ["commit.a", "ledger.b", "commit.b"],
    ]
    assert mixed([], 3) == []


@pytest.fixture
def armory(tmp_path: Path) -> Armory:
    return Armory(tmp_path / "points")


def steps(
    armory: Armory, monkeypatch: pytest.MonkeyPatch, dies: set[str], broken: set[str], until: float
) -> list[Step]:
    """The walk of three points; those that `dies` holds are reached, with those of `broken` a task is lost."""

    def scenario(_callers: object) -> Story:
        armed = {path.name for path in (armory.folder / "armed").iterdir()}
        for point in armed & dies:
            (armory.folder / "armed" / point).rename(armory.folder / "hit" / point)

        def check() -> None:
            assert not armed & broken, "a task is lost"

        return Story({}, check)

    monkeypatch.setattr(module, "SCENARIOS", {"story": scenario})
    monkeypatch.setattr(module, "UNTIL_HIT_S", 0.1)
    walk = Walk(armory, [], lambda tasks: None, together=3)
    plan = {"story": ["ledger.a", "runner.a", "store.a"]}
    return list(walk.steps(plan, until))


def outcomes(found: list[Step]) -> dict[str, str]:
    return {step.point: step.outcome for step in found}


def test_outcomes_are_told_point_by_point(armory: Armory, monkeypatch: pytest.MonkeyPatch) -> None:
    found = steps(armory, monkeypatch, {"ledger.a", "runner.a"}, set(), float("inf"))
    assert outcomes(found) == {"ledger.a": "ok", "runner.a": "ok", "store.a": "not reached"}
    assert not list((armory.folder / "armed").iterdir())


def test_a_group_that_goes_wrong_is_tried_one_by_one(
    armory: Armory, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"ledger.a", "runner.a", "store.a"}
    found = steps(armory, monkeypatch, points, {"runner.a"}, float("inf"))
    assert outcomes(found) == {"ledger.a": "ok", "runner.a": "a task is lost", "store.a": "ok"}


class OneDiesBefore:
    """A story in which the death at `first` keeps `second` from being reached."""

    def __init__(self, armory: Armory, first: str, second: str) -> None:
        self._armory = armory
        self._order = (first, second)
        self.tried: list[set[str]] = []

    def __call__(self, _callers: object) -> Story:
        folder = self._armory.folder
        armed = {path.name for path in (folder / "armed").iterdir()}
        self.tried.append(armed)
        reached = next(point for point in self._order if point in armed)
        (folder / "armed" / reached).rename(folder / "hit" / reached)
        return Story({})


def test_a_point_that_others_kept_from_being_reached_is_tried_alone(
    armory: Armory, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = OneDiesBefore(armory, "ledger.a", "store.a")
    monkeypatch.setattr(module, "SCENARIOS", {"story": story})
    monkeypatch.setattr(module, "UNTIL_HIT_S", 0.1)
    walk = Walk(armory, [], lambda tasks: None, together=2)
    found = list(walk.steps({"story": ["ledger.a", "store.a"]}, float("inf")))
    assert outcomes(found) == {"ledger.a": "ok", "store.a": "ok"}
    assert story.tried == [{"ledger.a", "store.a"}, {"store.a"}]


def test_what_the_time_did_not_suffice_for_is_said(
    armory: Armory, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = steps(armory, monkeypatch, set(), set(), 0.0)
    assert set(outcomes(found).values()) == {"no time left"}
