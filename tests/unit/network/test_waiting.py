"""How long `up` waits: not at all for what can never come."""

import json
import os
import time
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from network import control
from network.last_words import last_lines, reason_of
from network.layout import Layout
from network.processes import ProcessId
from network.state import State


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.at(tmp_path / "state")
    made.make()
    return made


def row(name: str, **changes: Any) -> dict[str, Any]:
    given = {
        "name": name,
        "role": "api",
        "organization": "org-1",
        "pid": None,
        "started": None,
        "healthy": False,
        "done": False,
        "restarts": 1,
        "last_exit": None,
    }
    return given | changes


def reported(layout: Layout, *rows: dict[str, Any]) -> None:
    own = ProcessId.of(os.getpid())
    assert own is not None
    content = {
        "phase": "starting",
        "supervisor": [own.pid, own.started],
        "processes": list(rows),
        "actors": [],
    }
    layout.processes_file.write_text(json.dumps(content))


def refusal(layout: Layout) -> str:
    """What `up` says when it gives up, which it does at once."""
    began = time.monotonic()
    with pytest.raises(control.NeverUp) as refused:
        next(control.wait_until_up(layout, State.new(organizations=1, port=1)))
    assert time.monotonic() - began < 5
    return str(refused.value)


def test_a_process_that_says_it_never_will_is_quoted(layout: Layout) -> None:
    lines = [
        {"event": "Traceback (most recent call last):\n  x\nValueError: y"},
        {"event": "schema_unusable", "reason": "The database has the schema of another version."},
        {"event": "stopped"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (layout.logs / "api-org-1.log").write_text(text)
    reported(layout, row("postgres", healthy=False), row("api-org-1", last_exit=os.EX_CONFIG))
    said = refusal(layout)
    assert said.startswith("api-org-1: The database has the schema of another version.")
    assert str(layout.logs) in said


def test_a_process_that_ends_again_and_again_is_not_waited_for(layout: Layout) -> None:
    (layout.logs / "orchestrator.log").write_text("Traceback …\nRuntimeError: no such channel\n")
    reported(layout, row("orchestrator", restarts=control.MOST_DEATHS - 1, last_exit=1))
    waiting = control.wait_until_up(layout, State.new(organizations=1, port=1))
    assert next(waiting) == ["orchestrator"]
    reported(layout, row("orchestrator", restarts=2 * control.MOST_DEATHS, last_exit=1))
    with pytest.raises(control.NeverUp, match="again and again") as refused:
        next(waiting)
    assert "RuntimeError: no such channel" in str(refused.value)


def test_deaths_before_this_up_do_not_count(layout: Layout) -> None:
    reported(layout, row("orchestrator", restarts=50, last_exit=1))
    waiting = control.wait_until_up(layout, State.new(organizations=1, port=1))
    assert next(waiting) == ["orchestrator"]
    assert next(waiting) == ["orchestrator"]


def test_a_supervisor_that_is_slow_has_not_ended(layout: Layout) -> None:
    state = State.new(organizations=1, port=1)
    with Popen(["sleep", "600"]) as process:  # it has not taken its lock yet
        waiting = control.wait_until_up(layout, state, supervisor=process)
        assert next(waiting) == ["supervisor"]
        assert next(waiting) == ["supervisor"]
        process.kill()
        process.wait()
        with pytest.raises(control.NetworkError, match="The supervisor ended"):
            next(waiting)


def test_logs_are_shown_in_words(layout: Layout) -> None:
    told = {"event": "start_failed", "part": "x", "error": "no room", "level": "warning"}
    (layout.logs / "x.log").write_text("plain\n" + json.dumps(told) + "\n{]\n")
    shown = last_lines(layout.logs, ["x", "nobody"])
    assert shown.splitlines()[1:] == ["plain", "start_failed: no room", "{]"]
    assert reason_of(layout.logs, "nobody") == "it says nothing"
