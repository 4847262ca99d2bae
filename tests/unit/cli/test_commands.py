"""The command line: quick help without heavy imports, and refusals as one message."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from network import status
from network.layout import Layout
from network.state import State

HEAVY = (
    "ray",
    "fastapi",
    "sqlalchemy",
    "grpc",
    "psycopg2",
    "psutil",
    "pydantic",
    "backend",
    "network",
)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom cli.main import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())


@pytest.mark.parametrize("command", ["up", "down", "status", "demo", "orchestrator"])
def test_every_command_is_listed(command: str) -> None:
    assert command in CliRunner().invoke(app, ["--help"]).stdout


def test_down_without_a_network_is_no_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["down", "--state", str(tmp_path / "none")])
    assert result.exit_code == 0
    assert "No network" in result.stdout
    assert not (tmp_path / "none").exists()


def test_up_in_a_folder_with_other_files_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    result = CliRunner().invoke(app, ["up", "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "--state" in result.output


def test_status_of_a_stopped_network_is_no_success_and_says_so(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path / "state")
    layout.make()
    try:
        State.new(organizations=2, port=8000).save(layout)
        content = status.status(layout)
        result = CliRunner().invoke(app, ["status", "--state", str(layout.state)])
    finally:
        layout.run.rmdir()
    assert content is not None
    assert content["processes"] == []
    assert not status.is_up(content)
    assert result.exit_code == 1
    assert "substra-ray up" in result.stdout


@pytest.mark.parametrize(
    ("words", "role"),
    [
        (["/v/bin/python", "-m", "ray_jobs", "/run/sr-1/org-1/sessions/x.json"], "runner"),
        (["ray::ServeReplica:org-1:api"], "ray-serve-replica"),
        (["ray::ServeController.listen_for_change"], "ray-serve-controller"),
        (["/x/ray/core/src/ray/gcs/gcs_server", "--log_dir=/tmp/x"], "ray-gcs"),
        (
            ["/x/ray/core/src/ray/raylet/raylet", "--agent=python ray/dashboard/agent.py"],
            "ray-raylet",
        ),
        (["ray::DashboardAgent"], "ray-agent"),
        (["ray::IDLE"], "ray-worker"),
        (["python3", "function.py"], None),
    ],
)
def test_processes_are_known_by_their_words(words: list[str], role: str | None) -> None:
    assert status.role_of(words, words[0]) == role


def test_organization_is_read_from_paths_and_titles(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    path = str(layout.run / "org-12" / "sessions" / "x.json")
    assert status.organization_of(["python", path], layout) == "org-12"
    assert status.organization_of(["ray::ServeReplica:org-3:api"], layout) == "org-3"
    assert status.organization_of(["python", "/elsewhere/org-1/x"], layout) is None
