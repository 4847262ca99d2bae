"""`substra-ray orchestrator` with a state folder, as a person starts, interrupts and asks it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from network.ports import free_port
from tests.integration.orchestrator.member import Member
from tests.integration.orchestrator.waiting import until

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-c", "from cli.main import app; app()", "orchestrator"]
SERVES = re.compile(r'"event": "ledger_serves"')
START_S = 40.0


def _run(*words: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: v for name, v in os.environ.items() if not name.startswith("ORCHESTRATOR")}
    return subprocess.run(
        [*COMMAND, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def channels(tmp_path: Path) -> Path:
    path = tmp_path / "channels.yaml"
    path.write_text("channels: {mychannel: [a, b]}\n")
    return path


@contextmanager
def _serving(
    state: Path, channels: Path, port: int
) -> "Iterator[tuple[subprocess.Popen[bytes], Member]]":
    """The process and a member; killed on leaving if it still runs."""
    log = state.with_suffix(".log")
    with log.open("ab") as output:
        words = [
            "--channels",
            str(channels),
            "--listen",
            f"127.0.0.1:{port}",
            "--state",
            str(state),
        ]
        before = len(SERVES.findall(log.read_text()))
        process = subprocess.Popen([*COMMAND, *words], cwd=ROOT, stderr=output)
    try:
        until(lambda: len(SERVES.findall(log.read_text())) > before, START_S)
        with Member(f"127.0.0.1:{port}") as member:
            yield process, member
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _servers(state: Path) -> list[psutil.Process]:
    """PostgreSQL servers of a state folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "-D" in words and str(state) in " ".join(words):
            found.append(process)
    return found


def test_a_ledger_with_a_folder_of_its_own_lives_and_goes_on(
    tmp_path: Path, channels: Path
) -> None:
    state, port = tmp_path / "ledger", free_port()
    with _serving(state, channels, port) as (process, a):
        stub = reflection_pb2_grpc.ServerReflectionStub(a.channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(stub.ServerReflectionInfo(iter([ask]), metadata=a.metadata))
        names = {service.name for service in answer.list_services_response.service}
        assert "orchestrator.ComputeTaskService" in names
        plan = a.join().plan()

        second = _run("--channels", str(channels), "--listen", "127.0.0.1:0", "--state", str(state))
        assert second.returncode == 1
        assert "Another process serves the ledger" in second.stderr

        file = tmp_path / "backup.zip"
        assert _run("backup", str(file), "--state", str(state)).returncode == 0
        again = _run("--state", str(state), "backup", str(file))
        assert again.returncode == 1
        assert "exists already" in again.stderr
        checked = _run("replay", "--state", str(state))
        assert (checked.returncode, checked.stderr) == (0, "")
        assert "the events rebuild the tables" in checked.stdout

        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
    assert _servers(state) == []
    assert state.stat().st_mode & 0o077 == 0

    with _serving(state, channels, port) as (process, a):
        assert [event.asset_key for event in a.events(2)] == ["a", plan]
        process.kill()  # its PostgreSQL outlives it, and is found by the next
        process.wait()
    with _serving(state, channels, port) as (process, a):
        assert [event.asset_key for event in a.events(2)] == ["a", plan]
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert _servers(state) == []

    other = tmp_path / "other"
    assert _run("restore", str(file), "--state", str(other)).returncode == 0
    checked = _run("replay", "--state", str(other))
    assert checked.stdout.startswith("2 events of mychannel")
    refused = _run("restore", str(file), "--state", str(other))
    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    assert _servers(other) == []


def test_a_server_that_dies_is_started_again(tmp_path: Path, channels: Path) -> None:
    state = tmp_path / "ledger"
    with _serving(state, channels, free_port()) as (process, a):
        plan = a.join().plan()
        (server,) = _servers(state)[:1]
        server.kill()
        server.wait()
        until(lambda: bool(_servers(state)))
        second = a.plan()
        assert [event.asset_key for event in a.events(3)] == ["a", plan, second]
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
