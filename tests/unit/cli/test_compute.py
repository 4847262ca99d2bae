"""`queue` and `logs`: what they print of an organization's answers."""

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.task_logs import events

TASK = "0b1a9f0e-0000-4000-8000-000000000001"
ANSWERS: dict[str, object] = {
    f"/org-1/task/{TASK}/": {"key": TASK, "worker": "MyOrg1MSP"},
    f"/org-1/task/{TASK}-ended/": {"key": f"{TASK}-ended", "worker": "MyOrg1MSP"},
    f"/org-1/task/{TASK}/queue/": {
        "key": TASK,
        "status": "STATUS_WAITING_FOR_EXECUTOR_SLOT",
        "worker": "MyOrg1MSP",
        "state": "ready",
        "position": 3,
        "reason": "tasks before it: 2",
        "attempts": 0,
        "tries": 0,
        "not_before": None,
        "last_error": None,
        "resources": {"cpus": 1.5, "memory_bytes": 0, "gpus": 0},
    },
    "/org-1/queue/": {
        "organization": "MyOrg1MSP",
        "channel": "mychannel",
        "plans": [
            {
                "compute_plan_key": "p",
                "name": "large",
                "running": 2,
                "ready": 9998,
                "preparing": 0,
                "reporting": 0,
                "weight": 4.0,
            }
        ],
        "builds": [{"key": "f", "name": "train", "running": True, "attempts": 1}],
        "trouble": [
            {
                "kind": "task",
                "key": "t",
                "attempts": 1,
                "tries": 2,
                "cause": "disk full",
                "last_error": None,
            }
        ],
    },
}
STREAM = (
    'event: log\ndata: "epoch 1\\n"\n\nevent: now\ndata: {"status": "STATUS_EXECUTING"}\n\n'
    ': still here\n\nevent: log\ndata: "epoch 2\\n"\n\n'
    'event: end\ndata: {"status": "STATUS_DONE"}\n\n'
)


ENDED = (
    'event: log\ndata: "all of it\\n"\n\n'
    'event: now\ndata: {"status":"STATUS_DONE"}\n\n'
    'event: end\ndata: {"status":"STATUS_DONE"}\n\n'
)


def _answer(request: httpx.Request) -> httpx.Response:
    path = request.url.path
    if path.endswith("/api-token-auth/"):
        return httpx.Response(200, json={"token": "t"})
    if request.headers.get("Authorization") != "Token t":
        return httpx.Response(401, json={"detail": "no"})
    if path.endswith("/logs/stream/"):
        if TASK not in path:
            return httpx.Response(410, json={"detail": "Gone"})
        return httpx.Response(200, text=ENDED if "-ended" in path else STREAM)
    if path in ANSWERS:
        return httpx.Response(200, json=ANSWERS[path])
    return httpx.Response(404, json={"detail": "Not found."})


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network's folder whose one organization answers from `ANSWERS`."""
    entry = {
        "name": "org-1",
        "msp_id": "MyOrg1MSP",
        "url": "http://127.0.0.1:1/org-1",
        "username": "org-1",
        "password": "p",
    }
    (tmp_path / "network.json").write_text(json.dumps({"organizations": [entry]}))
    real = httpx.Client

    def client(**options: object) -> httpx.Client:
        return real(**options, transport=httpx.MockTransport(_answer))  # type: ignore[arg-type]

    monkeypatch.setattr(httpx, "Client", client)
    return tmp_path


def test_the_queue_of_every_organization(state: Path) -> None:
    done = CliRunner().invoke(app, ["queue", "--state", str(state)])
    assert done.exit_code == 0, done.output
    for words in ("org-1, mychannel", "9998", "function f builds", "attempt 3: disk full"):
        assert words in done.output


def test_the_queue_as_json(state: Path) -> None:
    done = CliRunner().invoke(app, ["queue", "--state", str(state), "--output", "json"])
    assert json.loads(done.output) == {"org-1": ANSWERS["/org-1/queue/"]}


def test_a_tasks_place(state: Path) -> None:
    done = CliRunner().invoke(app, ["queue", TASK, "--state", str(state)])
    assert "tasks before it: 2" in done.output
    as_json = CliRunner().invoke(app, ["queue", TASK, "--state", str(state), "--output", "json"])
    assert json.loads(as_json.output)["position"] == 3


def test_an_unknown_task_and_a_folder_without_a_network_are_one_message(
    state: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["queue", "nobody", "--state", str(state)])
    assert (done.exit_code, done.stderr) == (1, "No organization knows the task nobody.\n")
    empty = CliRunner().invoke(app, ["queue", "--state", str(tmp_path / "empty")])
    assert empty.exit_code == 1
    assert "There is no network" in empty.stderr


def test_logs_end_where_the_task_is_now_unless_followed(state: Path) -> None:
    now = CliRunner().invoke(app, ["logs", TASK, "--state", str(state)])
    assert now.stdout == "epoch 1\n"
    followed = CliRunner().invoke(app, ["logs", "-f", TASK, "--state", str(state)])
    assert followed.stdout == "epoch 1\nepoch 2\n"
    assert "[STATUS_DONE]" in followed.stderr


def test_only_a_task_that_runs_goes_on(state: Path) -> None:
    """What ended is called so, without a word of following it."""
    running = CliRunner().invoke(app, ["logs", TASK, "--state", str(state)])
    assert running.stderr == "[STATUS_EXECUTING: -f goes on]\n"
    ended = CliRunner().invoke(app, ["logs", f"{TASK}-ended", "--state", str(state)])
    assert (ended.stdout, ended.stderr) == ("all of it\n", "[STATUS_DONE]\n")


def test_a_line_of_a_log_is_no_event() -> None:
    lines = ["event: log", 'data: "event: end\\ndata: 1"', ""]
    assert list(events(lines)) == [("log", "event: end\ndata: 1")]
