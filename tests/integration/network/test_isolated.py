"""Isolated mode as a front-end developer has it: two commands, then the SDK's reads against sample data."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import substra
from substra.sdk import models as sdk

from network.ports import free_port

RUN = "from cli.main import app; app()"
ROOT = Path(__file__).parents[3]
USER, PASSWORD = "org-1", "p@sswr0d44"


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", RUN, *words]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATABASE")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an isolated API with sample data, on the bundled PostgreSQL."""
    state, port = str(tmp_path_factory.getbasetemp() / "isolated"), free_port()
    for _ in range(2):  # the second changes nothing
        subprocess.run(
            command("fixtures", "--state", state),
            env=environment(),
            cwd="/",
            check=True,
            timeout=120,
        )
    with subprocess.Popen(
        command("serve", "--state", state, "--port", str(port)),
        env=environment(ISOLATED="1"),
        cwd="/",
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_ready(address, process)
            yield address
        finally:
            process.terminate()
            assert process.wait(30) is not None


def wait_until_ready(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "serve ended"
        assert time.monotonic() < deadline, "serve does not answer"
        try:
            if httpx.get(f"{address}/readiness", timeout=5).text == "OK":
                return
        except httpx.HTTPError:
            continue


@pytest.fixture(scope="module")
def client(url: str) -> substra.Client:
    return substra.Client(backend_type="remote", url=url, username=USER, password=PASSWORD)


@pytest.fixture(scope="module")
def raw(url: str) -> httpx.Client:
    form = {"username": USER, "password": PASSWORD}
    token = httpx.post(f"{url}/api-token-auth/", data=form).json()["token"]
    return httpx.Client(base_url=url, headers={"Authorization": f"Token {token}"}, timeout=30)


def test_sdk_lists_and_gets_every_kind_of_asset(client: substra.Client) -> None:
    pairs: list[tuple[list[Any], Any]] = [
        (client.list_function(), client.get_function),
        (client.list_dataset(), client.get_dataset),
        (client.list_data_sample(), client.get_data_sample),
        (client.list_compute_plan(), client.get_compute_plan),
        (client.list_task(), client.get_task),
        (client.list_model(), client.get_model),
    ]
    for listed, get in pairs:
        assert listed
        for asset in (listed[0], listed[-1]):
            assert get(asset.key).key == asset.key
    assert [organization.id for organization in client.list_organization()] == [
        *("MyOrg1MSP", "MyOrg2MSP", "MyOrg3MSP")
    ]


def test_there_are_plans_in_every_state(client: substra.Client) -> None:
    plans = client.list_compute_plan()
    states = Counter(plan.status for plan in plans)
    assert set(states) == set(sdk.ComputePlanStatus) - {sdk.ComputePlanStatus.unknown}
    assert {plan.creator for plan in plans} == {USER}
    for plan in plans:
        ended = plan.status in (
            *(sdk.ComputePlanStatus.done, sdk.ComputePlanStatus.failed),
            sdk.ComputePlanStatus.canceled,
        )
        assert (plan.end_date is not None) is ended, plan.name


def test_tasks_agree_with_their_plans(client: substra.Client, raw: httpx.Client) -> None:
    tasks = Counter(task.compute_plan_key for task in client.list_task())
    for plan in client.list_compute_plan():
        assert tasks[plan.key] == plan.task_count
        nested = raw.get(f"/compute_plan/{plan.key}/task/", params={"page_size": "1"}).json()
        assert nested["count"] == plan.task_count


def test_every_task_of_a_finished_plan_has_its_outputs(client: substra.Client) -> None:
    (plan, *_) = client.list_compute_plan(filters={"status": [sdk.ComputePlanStatus.done.value]})
    tasks = client.list_task(filters={"compute_plan_key": [plan.key]})
    for task in tasks:
        made = client.list_task_output_assets(task.key)
        assert {asset.identifier for asset in made} == set(task.outputs)
        taken = client.list_task_input_assets(task.key)
        assert len(taken) == len(task.inputs)
    scores = client.get_performances(plan.key)
    assert scores.performance == sorted(scores.performance), "it learns"
    assert len(scores.performance) == 5


def test_failed_tasks_have_logs(client: substra.Client, raw: httpx.Client) -> None:
    failed = client.list_task(filters={"status": [sdk.ComputeTaskStatus.failed.value]})
    kinds = {str(task.error_type.value) for task in failed if task.error_type}
    assert kinds == {"BUILD_ERROR", "EXECUTION_ERROR"}
    log = client.get_logs(failed[0].key)
    assert "Traceback" in log


def test_what_the_front_end_polls_is_there(raw: httpx.Client) -> None:
    important = raw.get("/news_feed/", params={"important_news_only": "true"}).json()
    assert important["count"] == 28
    (doing,) = raw.get("/compute_plan/", params={"match": "doing"}).json()["results"]
    assert doing["estimated_end_date"] > doing["start_date"]
    task = raw.get("/task/", params={"status": "STATUS_DONE", "worker": "MyOrg1MSP"}).json()
    profile = raw.get(f"/task_profiling/{task['results'][0]['key']}/").json()
    assert len(profile["execution_rundown"]) == 3
    assert raw.get("/compute_plan_metadata/").json() == ["batch_size", "learning_rate", "note"]


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("function", ["file", "description", "image"]),
        ("data_manager", ["opener", "description"]),
        ("model", ["file"]),
    ],
)
def test_assets_are_not_downloaded_in_isolated_mode(
    raw: httpx.Client, kind: str, files: list[str]
) -> None:
    key = raw.get(f"/{kind}/").json()["results"][0]["key"]
    for file in files:
        answer = raw.get(f"/{kind}/{key}/{file}/")
        detail = "Asset not available in isolated mode"
        assert (answer.status_code, answer.json()) == (410, {"detail": detail})


def test_serve_without_settings_says_what_it_needs() -> None:
    done = subprocess.run(
        command("serve"), env=environment(ISOLATED=""), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "ISOLATED=1" in done.stderr


def test_serve_with_a_settings_file_that_is_none_says_so(tmp_path: Path) -> None:
    malformed = tmp_path / "malformed.json"
    malformed.write_text("[]")
    malformed.chmod(0o600)
    for file in (tmp_path / "nothing.json", malformed):
        done = subprocess.run(
            command("serve", "--settings", str(file), "--port", str(free_port())),
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3
        assert file.name in done.stderr
        assert "Traceback" not in done.stderr


def _refused(*words: str) -> str:
    """What a command says that ends at once with status 1."""
    done = subprocess.run(
        command(*words), env=environment(ISOLATED="1"), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_second_command_leaves_a_served_database_alone(
    url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = str(tmp_path_factory.getbasetemp() / "isolated")
    for words in (["fixtures"], ["serve", "--port", str(free_port())]):
        assert "--state" in _refused(*words, "--state", state)
    assert httpx.get(f"{url}/readiness").text == "OK"
    port = url.rpartition(":")[2]
    assert "--port" in _refused("serve", "--port", port, "--state", f"{state}-other")


def test_a_served_database_ends_with_its_command(tmp_path: Path) -> None:
    port = free_port()
    with subprocess.Popen(
        command("serve", "--state", str(tmp_path), "--port", str(port)),
        env=environment(ISOLATED="1"),
        cwd="/",
        stdout=subprocess.DEVNULL,
    ) as process:
        running = tmp_path / "isolated" / "postgres" / "data" / "postmaster.pid"
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process)
            assert running.exists()
        finally:
            process.terminate()
        process.wait(30)
    assert not running.exists()
