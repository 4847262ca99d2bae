"""What goes wrong is told: logs, categories, cancellation, and functions that look where they should not."""

from collections.abc import Callable
from functools import partial

import pytest
import substra
from substra.sdk.models import ComputePlanStatus, ComputeTaskStatus, FunctionStatus, TaskErrorType

from tests.e2e.conftest import RunningNetwork
from tests.e2e.playground import Data, Playground, output_of
from tests.e2e.waiting import wait_for


def failed_task(playground: Playground, key: str) -> substra.models.Task:
    """The task once its failure report has arrived at both organizations."""
    for client in playground.clients:
        wait_for(partial(_is_explained, client, key), "the failure report arrives")
    return playground.clients[0].get_task(key)


def _is_explained(client: substra.Client, key: str) -> bool:
    try:
        return client.get_task(key).error_type is not None
    except substra.exceptions.NotFound:  # the other organization has not heard of the task yet
        return False


def function_is(client: substra.Client, key: str, status: FunctionStatus) -> Callable[[], bool]:
    return lambda: bool(client.get_function(key).status == status)


def test_failing_function_fails_the_plan_with_a_log_for_both(
    playground: Playground, data: list[Data]
) -> None:
    broken = playground.task(playground.function("fail"), data[0].inputs())
    never = playground.task(playground.function("add"), [*data[1].inputs(), output_of(broken)], 1)
    plan = playground.run([broken, never])
    assert plan.status == ComputePlanStatus.failed
    assert plan.failed_task_key == broken.task_id
    task = failed_task(playground, broken.task_id)
    assert (task.status, task.error_type) == (ComputeTaskStatus.failed, TaskErrorType.execution)
    for client in playground.clients:
        log = client.get_logs(broken.task_id)
        assert "about to fail" in log
        assert "Traceback (most recent call last)" in log
        assert "ValueError: told to fail" in log
    assert playground.clients[0].list_task_output_assets(broken.task_id) == []


def test_log_is_refused_where_the_data_manager_does_not_allow_it(playground: Playground) -> None:
    discreet = playground.data([1], 0, logs=playground.permissions(0))
    broken = playground.task(playground.function("fail"), discreet.inputs())
    playground.run([broken])
    failed_task(playground, broken.task_id)
    assert "told to fail" in playground.clients[0].get_logs(broken.task_id)
    with pytest.raises(substra.exceptions.AuthorizationError):
        playground.clients[1].get_logs(broken.task_id)


@pytest.mark.parametrize("owner", [0, 1])
def test_failed_build_fails_its_task_with_the_shells_words(
    playground: Playground, data: list[Data], owner: int
) -> None:
    function = playground.function("add", owner, extra="RUN no-such-command --now\n")
    task = playground.task(function, data[0].inputs())
    plan = playground.run([task])
    assert plan.status == ComputePlanStatus.failed
    assert failed_task(playground, task.task_id).error_type == TaskErrorType.build
    for client in playground.clients:
        wait_for(
            function_is(client, function, FunctionStatus.failed),
            "both organizations see the failed build",
        )
        log = client.get_logs(task.task_id)
        assert "no-such-command" in log
        assert "not found" in log


def test_function_is_built_without_any_task(playground: Playground) -> None:
    key = playground.function("add", extra="RUN echo made > made.txt\n")
    for client in playground.clients:
        wait_for(
            function_is(client, key, FunctionStatus.ready),
            "the function is ready",
        )
    assert playground.clients[1].get_function(key).status == FunctionStatus.ready


def test_canceled_plan_stops_its_running_task(playground: Playground) -> None:
    client = playground.clients[0]
    slow = playground.data([60])
    tasks = playground.chain(3, [slow], name="linger")
    plan = playground.submit(tasks)
    wait_for(
        lambda: client.get_task(tasks[0].task_id).status == ComputeTaskStatus.executing,
        "the first task runs",
    )
    client.cancel_compute_plan(plan.key)
    wait_for(
        lambda: all(
            client.get_task(task.task_id).status == ComputeTaskStatus.canceled for task in tasks
        ),
        "every task is canceled",
        timeout_s=15,
    )
    ended = client.get_compute_plan(plan.key)
    assert ended.status == ComputePlanStatus.canceled
    assert ended.end_date is not None
    assert ended.duration is not None
    # The slot is free again: a task submitted now does not wait for the 60 s.
    after = playground.chain(1, [playground.data([0])], name="linger")
    assert playground.run(after, timeout_s=30).status == ComputePlanStatus.done


def test_curious_function_gets_nothing(network: RunningNetwork, playground: Playground) -> None:
    state = network.state
    wanted = [
        f"{state}/network.json",
        f"{state}/settings/org-1.json",
        f"{state}/settings/",
        f"{state}/logs/",
        f"{state}/organizations/org-1/medias/outbox/",
        f"{state}/organizations/org-2/medias/",
    ]
    task = playground.task(playground.function("snoop"), playground.data(wanted).inputs())
    assert playground.run([task]).status == ComputePlanStatus.done
    found = playground.model(task)
    assert set(found["report"]) > set(wanted)
    assert found["secrets"] == []
    assert {place: answer for place, answer in found["report"].items() if "got" in answer} == {}
