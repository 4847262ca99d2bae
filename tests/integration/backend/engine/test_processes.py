"""Two organizations as processes: build, transfer, run, kill, cancel."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.backend.engine.processes import DOCKERFILE, Network, Organization
from tests.integration.backend.engine.world import eventually


@pytest.fixture(scope="module")
def network(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    state: Path = tmp_path_factory.mktemp("network")
    network = Network(postgres, state, 2)
    try:
        network.start()
        yield network
    finally:
        network.stop()


@pytest.fixture
def first(network: Network) -> Organization:
    return network.organizations[0]


@pytest.fixture
def second(network: Network) -> Organization:
    return network.organizations[1]


def finished(organization: Organization, task: str, timeout_s: float = 60) -> str:
    """The final status of a task."""
    final = {"STATUS_DONE", "STATUS_FAILED", "STATUS_CANCELED"}
    return eventually(
        lambda: status if (status := organization.status("task", task)) in final else None,
        f"task {task} ends",
        timeout_s,
    )


def test_a_chain_over_two_organizations_is_built_transferred_and_done(
    first: Organization, second: Organization
) -> None:
    function = first.function()
    plan = first.plan()
    workers = [first.msp_id, second.msp_id, first.msp_id, second.msp_id]
    tasks = first.chain(plan, function, workers)
    assert finished(second, tasks[-1], 120) == "STATUS_DONE"
    assert finished(first, tasks[-1]) == "STATUS_DONE"
    assert second.status("function", function) == "FUNCTION_STATUS_READY"
    outputs = first.get(f"/task/{tasks[-1]}/output_assets/")["results"]
    model = outputs[0]["asset"]["key"]
    assert first.client.get(f"/model/{model}/file/").text == "4"  # 1 + 1 + 1 + 1
    steps = first.get(f"/task_profiling/{tasks[2]}/")["execution_rundown"]
    assert {step["step"] for step in steps} == {
        "prepare_inputs",
        "task_execution",
        "save_outputs",
    }


def test_the_same_archive_is_not_built_twice(first: Organization) -> None:
    keys = [first.function("same = 1") for _ in range(2)]
    for key in keys:
        eventually(
            lambda k=key: first.status("function", k) == "FUNCTION_STATUS_READY",  # type: ignore[misc]
            "ready",
            60,
        )
    assert f'"function": "{keys[1]}"' in "\n".join(
        line for line in first.log("control").splitlines() if "build_reused" in line
    )


def test_a_build_that_fails_has_a_log_for_both(first: Organization, second: Organization) -> None:
    key = first.function(
        dockerfile=DOCKERFILE.replace("COPY", "RUN definitely-not-a-command\nCOPY")
    )
    for organization in (first, second):
        eventually(
            lambda o=organization: o.status("function", key) == "FUNCTION_STATUS_FAILED",  # type: ignore[misc]
            "failed",
            60,
        )
        answer = organization.client.get(f"/logs/{key}/file/")
        assert answer.status_code == 200
        assert "definitely-not-a-command" in answer.text


def test_a_failing_function_has_its_traceback_in_the_log(first: Organization) -> None:
    function = first.function("raise ValueError('no luck')")
    (task,) = first.chain(first.plan(), function, [first.msp_id])
    assert finished(first, task) == "STATUS_FAILED"
    answer = eventually(
        lambda: (
            answer
            if (answer := first.client.get(f"/task/{task}/logs/")).status_code == 200
            else None
        ),
        "the log",
    )
    assert "ValueError: no luck" in answer.text
    assert first.get(f"/task/{task}/")["error_type"] == "EXECUTION_ERROR"


USES_CHAINKEYS = """
import os
(folder,) = (given["value"] for given in values["--inputs"] if given["id"] == "chainkeys")
path = os.path.join(folder, "chainkeys.json")
keys = json.load(open(path))["chain_keys"]
total = 100 * int(os.environ["ORGANIZATION_INDEX"]) + keys["2"][0]
json.dump({"chain_keys": {"2": [keys["2"][0] + 1]}}, open(path, "w"))
"""


def test_tasks_of_a_plan_with_a_tag_pass_on_its_chainkeys(first: Organization) -> None:
    folder = first.secrets / "study"
    folder.mkdir(parents=True)
    (folder / "2").write_bytes(bytes([7]))
    function, plan = first.function(USES_CHAINKEYS), first.plan(tag="study")
    tasks = first.chain(plan, function, [first.msp_id, first.msp_id])
    assert finished(first, tasks[-1], 120) == "STATUS_DONE"
    models = []
    for task in tasks:
        (output,) = first.get(f"/task/{task}/output_assets/")["results"]
        models.append(first.client.get(f"/model/{output['asset']['key']}/file/").text)
    assert models == ["107", "108"]
    assert (folder / "2").read_bytes() == b"", "the store has forgotten them"


def test_a_killed_runner_costs_seconds_and_the_task_is_done_once(first: Organization) -> None:
    function = first.function("time.sleep(1.5)")
    (task,) = first.chain(first.plan(), function, [first.msp_id])
    eventually(lambda: first.status("task", task) == "STATUS_EXECUTING", "it runs", 60)
    pid = first.runner_pid()
    os.kill(pid, signal.SIGKILL)
    assert finished(first, task, 30) == "STATUS_DONE"
    assert first.runner_pid() != pid
    outputs = first.get(f"/task/{task}/output_assets/")["results"]
    assert len(outputs) == 1


def test_a_killed_control_plane_is_missed_by_nobody(first: Organization) -> None:
    function = first.function("time.sleep(0.3)")
    tasks = first.chain(first.plan(), function, [first.msp_id] * 4)
    eventually(lambda: first.status("task", tasks[0]) == "STATUS_EXECUTING", "it runs", 60)
    runner = first.runner_pid()
    first.kill("control")
    assert psutil.pid_exists(runner)
    first.start_control()
    assert finished(first, tasks[-1], 60) == "STATUS_DONE"
    assert first.runner_pid() == runner  # found again, not replaced


def test_a_killed_api_gets_the_result_when_it_is_back(first: Organization) -> None:
    function = first.function("time.sleep(1)")
    (task,) = first.chain(first.plan(), function, [first.msp_id])
    eventually(lambda: first.status("task", task) == "STATUS_EXECUTING", "it runs", 60)
    first.kill("api")
    first.start_api()
    eventually(first._log_in, "the API is back", 60)
    assert finished(first, task, 30) == "STATUS_DONE"


def test_cancel_ends_the_running_function_within_seconds(first: Organization) -> None:
    function = first.function("time.sleep(60)")
    plan = first.plan()
    tasks = first.chain(plan, function, [first.msp_id] * 3)
    eventually(lambda: first.status("task", tasks[0]) == "STATUS_EXECUTING", "it runs", 60)
    assert first.client.post(f"/compute_plan/{plan}/cancel/").status_code == 200
    for task in tasks:
        assert finished(first, task, 10) == "STATUS_CANCELED"
    quick = first.function("pass")
    (task,) = first.chain(first.plan(), quick, [first.msp_id])  # the one runner is free again
    assert finished(first, task, 30) == "STATUS_DONE"
