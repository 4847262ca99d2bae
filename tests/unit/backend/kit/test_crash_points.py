"""Crash points are off unless three things come together, note what they see, and kill once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backend.kit.crash_points import PERMISSION, VARIABLE, CrashPoints
from protos.orchestrator import computetask_pb2

ROOT = Path(__file__).parents[4]
COPIES = ["backend/kit", "orchestrator", "ray_jobs"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "points"
    place.mkdir(mode=0o700)
    for name in ("seen", "armed", "hit"):
        (place / name).mkdir()
    (place / PERMISSION).touch()
    return place


def reach(folder: Path, *environment: str) -> int:
    """Exit code of a process that reaches one point."""
    code = (
        "from ray_jobs.crash_points import crash_points as c\nc.reach('runner', 'x y', 'before')\n"
    )
    variables = {VARIABLE: str(folder)} if not environment else {}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **variables}, check=False
    )
    return done.returncode


def test_the_three_houses_have_the_same_module() -> None:
    texts = {(ROOT / house / "crash_points.py").read_text() for house in COPIES}
    assert len(texts) == 1


def test_armed_point_kills_one_process_and_is_disarmed(folder: Path) -> None:
    assert reach(folder) == 0
    assert [path.name for path in (folder / "seen").iterdir()] == ["runner.x-y.before"]
    (folder / "armed/runner.x-y.before").touch()
    assert reach(folder) == -signal.SIGKILL
    for place in ("seen", "hit"):
        (process, *_) = (folder / place / "runner.x-y.before").read_text().splitlines()
        assert process.startswith(f"{sys.executable} -c")
    assert reach(folder) == 0


@pytest.mark.parametrize("missing", ["variable", "permission", "privacy", "folder"])
def test_nothing_happens_by_accident(folder: Path, missing: str) -> None:
    (folder / "armed/runner.x-y.before").touch()
    if missing == "permission":
        (folder / PERMISSION).unlink()
    elif missing == "privacy":
        folder.chmod(0o755)
    elif missing == "folder":
        folder.rename(folder.with_name("elsewhere"))
        folder.symlink_to(folder.with_name("elsewhere"))
    assert reach(folder, *(["without"] if missing == "variable" else [])) == 0
    assert not list(folder.glob("hit/*"))


def committing(points: CrashPoints) -> None:
    points.reach_commit("after")


def test_points_are_named_by_messages_and_functions(folder: Path) -> None:
    points = CrashPoints(folder)
    points.reach(
        "ledger",
        computetask_pb2.ApplyTaskActionParam(action=computetask_pb2.TASK_ACTION_CANCELED),
        "before",
    )
    points.reach("ledger", computetask_pb2.GetTaskParam(), "before")
    committing(points)
    seen = {path.name for path in (folder / "seen").iterdir()}
    assert "ledger.ApplyTaskActionParam-2.before" in seen
    assert "ledger.GetTaskParam.before" in seen
    assert "commit.committing.after" in seen


def test_off_costs_nothing_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    points = CrashPoints.of_environment()
    points.reach("store", "models", "before")
    points.reach_commit("after")
    assert list(tmp_path.iterdir()) == []
