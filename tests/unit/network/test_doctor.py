"""`doctor` says facts, judges them, and ends with the right status."""

import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from network import doctor, doctor_walls
from network.doctor import exit_code, open_ports
from network.findings import Finding, Verdict
from network.layout import Layout
from network.state import State

ALL = {
    "mounts": True, "landlock": 7, "signals": True, "tcp_ports": True, "seccomp": True, "processes": True,
    "user": False,
}  # fmt: skip
# walls of a machine -> verdicts that are not ok
MACHINES: list[tuple[str, dict[str, Any], dict[str, Verdict]]] = [
    ("everything", {}, {}),
    ("Ubuntu 24.04", {"mounts": False, "landlock": 4, "signals": False, "processes": False},
     {"namespaces": "warning", "landlock": "warning", "signals": "warning", "processes": "warning"}),
    ("Debian 12", {"landlock": 2, "signals": False},
     {"signals": "warning", "network of RUN lines": "warning"}),
    ("kernel of 2020", {"landlock": 0, "signals": False},
     {"landlock": "warning", "signals": "warning", "network of RUN lines": "warning"}),
    ("a closed container", {"mounts": False, "landlock": 0, "signals": False, "processes": False},
     {"namespaces": "warning", "landlock": "problem", "signals": "warning", "processes": "warning",
      "network of RUN lines": "warning"}),
    ("another architecture", {"seccomp": False}, {"seccomp": "problem", "CPUs": "warning"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("walls", "expected"), [m[1:] for m in MACHINES], ids=[m[0] for m in MACHINES]
)
def test_walls_are_judged(
    walls: dict[str, Any], expected: dict[str, Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = list(doctor_walls.judged({**ALL, **walls}))
    assert {f.name: f.verdict for f in found if f.verdict != "ok"} == expected


@pytest.mark.parametrize(
    ("own", "words"), [(True, "has a user of its own"), (False, "run as root without any")]
)
def test_root_is_told_as_whom_functions_run(
    own: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (found,) = [f for f in doctor_walls.judged({**ALL, "user": own}) if f.name == "user"]
    assert words in found.text
    assert found.verdict == ("ok" if own else "warning")


def test_walls_of_this_machine_are_tried_out() -> None:
    tried = doctor_walls.tried()
    found = {f.name: f.verdict for f in doctor_walls.walls_of_this_machine()}
    assert (found["namespaces"] == "ok") == tried["mounts"]
    assert (found["landlock"] == "problem") == (not tried["landlock"] and not tried["mounts"])


def test_trial_that_cannot_run_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_walls, "_CONFINE", Path("/no/such/script"))
    (finding,) = doctor_walls.walls_of_this_machine()
    assert finding.verdict == "problem"


@pytest.mark.parametrize(
    ("verdicts", "code"), [((), 0), (("ok", "warning"), 0), (("ok", "problem"), 1)]
)
def test_exit_code_is_one_at_a_problem_only(verdicts: tuple[Verdict, ...], code: int) -> None:
    assert exit_code([Finding("machine", "x", verdict, "") for verdict in verdicts]) == code


def test_ports_that_other_machines_reach_are_found() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as here,
        socket.create_server(("0.0.0.0", 0)) as everywhere,
    ):
        found = open_ports(iter([os.getpid()]))
        assert everywhere.getsockname()[1] in found
        assert here.getsockname()[1] not in found


@pytest.mark.parametrize(
    ("free", "verdict"), [(100 << 30, "ok"), (5 << 30, "warning"), (1 << 30, "problem")]
)
def test_little_disk_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict
) -> None:
    usage = shutil._ntuple_diskusage(200 << 30, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    found = {f.name: f.verdict for f in doctor._machine(Layout.at(tmp_path / "not" / "yet"))}
    assert found["disk of the state folder"] == verdict


@pytest.mark.parametrize(
    ("version", "verdict"),
    [((3, 10, 9), "problem"), ((3, 11, 0), "ok"), ((3, 12, 1), "ok"), ((3, 13, 0), "warning")],
)
def test_python_version_is_judged(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], verdict: Verdict
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    assert doctor._python().verdict == verdict


def test_missing_programs_are_problems_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _name: None)
    postgres = tmp_path / "postgres"
    postgres.mkdir()
    (postgres / "PG_VERSION").write_text("9\n")
    found = {f.name: f for f in doctor._programs(Layout.at(tmp_path))}
    assert found["uv"].verdict == "problem"
    assert found["ray"].verdict == "warning"
    assert found["postgresql"].verdict == "problem"
    assert "pg_dumpall" in found["postgresql"].text


def test_network_that_is_down_tells_its_ports(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path / "state")
    layout.make()
    with socket.create_server(("127.0.0.1", 0)) as server:
        State.new(organizations=2, port=server.getsockname()[1]).save(layout)
        found = {f.name: f for f in doctor._network(doctor.Situation.at(layout.state))}
    assert found["state"].text.startswith("2 organizations")
    assert found["front door"].verdict == "problem"
    assert "--port" in found["front door"].text
    layout.run.rmdir()


def test_command_tells_all_areas_as_json(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["doctor", "--state", str(tmp_path / "none"), "--output", "json"]
    )
    content = json.loads(done.stdout)
    assert done.exit_code == (0 if content["ok"] else 1)
    assert {f["area"] for f in content["findings"]} == {
        "machine",
        "programs",
        "isolation",
        "network",
    }
    assert {f["verdict"] for f in content["findings"]} <= {"ok", "warning", "problem"}


def test_command_shows_a_damaged_state_and_fails(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    done = CliRunner().invoke(app, ["doctor", "--state", str(tmp_path)])
    assert done.exit_code == 1
    assert "damaged" in " ".join(done.stdout.split())


def test_unknown_output_is_a_usage_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--state", str(tmp_path), "--output", "xml"])
    assert done.exit_code == 2
