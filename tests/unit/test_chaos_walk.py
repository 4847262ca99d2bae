"""How the walk of crash points groups them and what it tells; its network is a double."""

from pathlib import Path

import pytest

from tests.chaos import walk as module
from tests.chaos.armory import Armory, kind_of
from tests.chaos.choosing import Slice, for_ten_minutes
from tests.chaos.journal import Journal, line
from tests.chaos.scenarios import Story
from tests.chaos.walk import Step, Walk, mixed


def test_points_of_one_process_are_far_apart() -> None:
    points = ["api.a", "api.b", "api.c", "api.d", "control.a", "control.b"]
    groups = mixed(points, 3, lambda point: point.partition(".")[0])
    assert groups == [["api.a", "control.a", "api.b"], ["api.c", "control.b", "api.d"]]
    assert mixed([], 3, str) == []


def die(armory: Armory, point: str) -> None:
    """What an API does that reaches an armed point."""
    (armory.folder / "armed" / point).rename(armory.folder / "hit" / point)
    (armory.folder / "hit" / point).write_text("python -m backend.asgi --settings org-1.json")


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
            die(armory, point)

        def check() -> None:
            assert not armed & broken, "a task is lost"

        return Story({}, check)

    monkeypatch.setattr(module, "SCENARIOS", {"story": scenario})
    monkeypatch.setattr(module, "UNTIL_HIT_S", 0.1)
    walk = Walk(armory, [], lambda tasks: None, together=3, unwell=lambda: 0.0)
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
    assert {step.before for step in found} == {"", "in a group, a task is lost"}


class OneDiesBefore:
    """A story in which the death at `first` keeps `second` from being reached."""

    def __init__(self, armory: Armory, first: str, second: str) -> None:
        self._armory = armory
        self._order = (first, second)
        self.tried: list[set[str]] = []

    def __call__(self, _callers: object) -> Story:
        armed = {path.name for path in (self._armory.folder / "armed").iterdir()}
        self.tried.append(armed)
        die(self._armory, next(point for point in self._order if point in armed))
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


class FailsOnce:
    """A story that goes wrong the first time."""

    def __init__(self, armory: Armory) -> None:
        self._armory = armory
        self.tries = 0

    def __call__(self, _callers: object) -> Story:
        die(self._armory, "ledger.a")
        self.tries += 1
        if self.tries == 1:
            raise AssertionError("task x ends: not within 150 s")
        return Story({})


def test_a_point_that_fails_alone_is_tried_once_more(
    armory: Armory, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = FailsOnce(armory)
    monkeypatch.setattr(module, "SCENARIOS", {"story": story})
    walk = Walk(armory, [], lambda tasks: None)
    (step,) = walk.steps({"story": ["ledger.a"]}, float("inf"))
    assert (step.outcome, step.process) == ("ok", "api")
    assert step.before == "task x ends: not within 150 s"
    assert story.tries == 2


def test_a_plan_that_goes_on_too_late_is_not_survived(
    armory: Armory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ON_S", -1.0)
    found = steps(armory, monkeypatch, {"ledger.a", "runner.a", "store.a"}, set(), float("inf"))
    assert all(step.broken and step.outcome.startswith("slow") for step in found)


def test_a_walk_goes_on_after_what_its_journal_holds(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    for point, outcome, before in (
        *(("commit.a.after", "ok", ""), ("commit.b.after", "a task is lost", "")),
        *(("commit.c.after", "not reached", ""), ("commit.d.after", "ok", "slow: 12 s")),
    ):
        journal.add(Step("chain", point, outcome, 1.0, 0.5, "api", before))
    assert Journal(path).survived == {"commit.a.after", "commit.d.after"}
    assert journal.broken == 1
    (head, row) = journal.table()
    assert row.split() == ["api", "2", "1", "1", "0", "1"]
    assert "at once" in head
    assert "a task is lost" in line(journal.steps[1])


def _taken(**words: str) -> list[str]:
    plan = {"chain": ["commit.a.after", "store.b.after"], "failure": ["commit.c.after"]}
    visitors = {"commit.a.after": {"api"}, "store.b.after": {"control", "api"}}
    found = Slice(**words).of(plan, lambda point: visitors.get(point, {"control"}))
    return [point for points in found.values() for point in points]


def test_a_walk_takes_slices() -> None:
    assert _taken() == ["commit.a.after", "store.b.after", "commit.c.after"]
    assert _taken(only="commit.") == ["commit.a.after", "commit.c.after"]
    assert _taken(start="store.b.after") == ["store.b.after", "commit.c.after"]
    assert _taken(process="control") == ["store.b.after", "commit.c.after"]


def test_the_short_walk_leaves_out_what_stands_before_a_walked_step_and_mere_looks() -> None:
    kept = ["commit.a.after", "commit.b.before", "runner.lease.taken"]
    looks = ["commit.Janitor.clean.after", "commit.Builds.inherit.after"]
    assert for_ten_minutes({"chain": [*kept, "commit.a.before", *looks]}) == {"chain": kept}


def test_processes_are_known_by_their_command_lines() -> None:
    kinds = {
        "python -m backend.asgi --settings x": "api",
        "python -m backend.engine.actors --settings x": "control",
        "python -m orchestrator --listen x": "ledger",
        "ray::ControlActor.__init__": "control",
        "ray::RunnerActor.watch": "runner",
        "ray::ServeReplica:org-1:api": "replica",
        "sleep 1": "other",
    }
    assert {command: kind_of(command) for command in kinds} == kinds
