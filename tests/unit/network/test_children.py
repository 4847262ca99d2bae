"""A kept process: restarted when it dies, with pauses when it dies young, ended with all that it started."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from network import children
from network.children import Child, Part
from network.processes import MARK, ProcessId, descendants, end, marked

FOREVER = "import signal; signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('x', flush=True); signal.pause()"
)


def part(code: str, folder: Path, **changes: object) -> Part:
    given = {
        "name": "part",
        "role": "part",
        "command": lambda: [sys.executable, "-S", "-c", code],
        "environment": {"PATH": os.defpath},
        "folder": folder,
        **changes,
    }
    return Part(**given)  # type: ignore[arg-type]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


def test_a_dead_process_is_due_again_at_once(tmp_path: Path) -> None:
    child = Child(part(FOREVER, tmp_path), tmp_path)
    child.start()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for(child.poll)
    began = time.monotonic()
    wait_for(child.due)
    assert time.monotonic() - began < 1
    child.start()
    assert child.pid != first
    assert (child.restarts, child.last_exit) == (1, -signal.SIGKILL)
    child.stop()


def test_a_crash_loop_gets_longer_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    child = Child(part("raise SystemExit(3)", tmp_path), tmp_path)
    pauses = []
    for _ in range(10):
        child.start()
        assert child._popen is not None
        child._popen.wait(10)
        child.poll()
        pauses.append(child._next_start - now)
        now = child._next_start
        assert child.due()
    assert pauses[0] <= 0.5
    assert pauses == sorted(pauses)
    assert pauses[-1] == children.LONGEST_PAUSE_S


def refuse() -> None:
    raise RuntimeError("disk full")


def test_a_failed_preparation_counts_as_a_death(tmp_path: Path) -> None:
    child = Child(part(FOREVER, tmp_path, before=refuse), tmp_path)
    child.start()
    assert not child.running
    assert not child.due()


def test_finished_work_is_not_repeated_until_asked(tmp_path: Path) -> None:
    child = Child(part("pass", tmp_path, once=True), tmp_path)
    child.start()
    wait_for(child.poll)
    assert child.done
    assert child.healthy
    assert not child.due()
    child.again()
    assert child.due()
    assert not child.healthy


def test_stop_ends_what_ignores_it_and_what_it_started(tmp_path: Path) -> None:
    code = f"import subprocess,sys; subprocess.Popen([sys.executable,'-S','-c',{STUBBORN!r}]); {STUBBORN}"
    child = Child(part(code, tmp_path, stop_timeout_s=0.2), tmp_path)
    child.start()
    assert child.pid is not None
    wait_for(lambda: child.log_file.read_text().count("x") == 2)
    tree = descendants(child.pid)
    assert len(tree) == 1
    child.stop()
    assert not any(process.alive() for process in tree)
    assert not child.running


def test_a_large_log_is_rotated_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "LARGEST_LOG", 10)
    child = Child(part("pass", tmp_path), tmp_path)
    with child.log_file.open("ab", buffering=0) as output:
        for text in (b"first line\n", b"second line\n", b"third line\n"):
            output.write(text)
            child.rotate_log()
        output.write(b"now\n")
    assert child.log_file.read_bytes() == b"now\n"
    assert (tmp_path / "part.log.1").read_bytes() == b"third line\n"
    assert (tmp_path / "part.log.3").read_bytes() == b"first line\n"


def test_another_process_with_the_same_pid_is_never_signalled() -> None:
    real = ProcessId.of(os.getpid())
    assert real is not None
    impostor = ProcessId(real.pid, real.started - 1)
    assert real.alive()
    assert not impostor.alive()
    assert not impostor.signal(signal.SIGTERM)


def test_processes_of_a_network_are_found_by_their_mark(tmp_path: Path) -> None:
    child = Child(part(FOREVER, tmp_path, environment={MARK: "feedbeef"}), tmp_path)
    child.start()
    wait_for(lambda: len(marked("feedbeef")) == 1)
    assert marked("feedbee") == []
    end(marked("feedbeef"))
    wait_for(child.poll)
    assert marked("feedbeef") == []
