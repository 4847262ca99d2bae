"""Plans over two organizations through the SDK: chains, aggregates, data order, performances."""

from functools import partial
from pathlib import Path

import pytest
import substra
from substra.sdk.models import ComputePlanStatus, ComputeTaskStatus

from tests.e2e.playground import Data, Playground, output_of
from tests.e2e.waiting import wait_for

PLAN_DONE = ComputePlanStatus.done


def test_chain_runs_across_both_organizations(playground: Playground, data: list[Data]) -> None:
    tasks = playground.chain(4, data)
    plan = playground.run(tasks)
    assert plan.status == PLAN_DONE
    assert (plan.done_count, plan.task_count) == (4, 4)
    # org 1 adds 1 + 2 + 1, org 2 adds 10 + 1
    assert playground.model(tasks[-1]) == {"value": 4 + 11 + 4 + 11, "rank": 3}


def test_aggregate_gets_its_models_in_the_order_given(
    playground: Playground, data: list[Data]
) -> None:
    first, second = playground.chain(1, data[:1]), playground.chain(1, data[1:])
    second[0].worker = playground.organizations[1]
    inputs = [output_of(second[0]), output_of(first[0])]
    total = playground.task(playground.function("aggregate"), inputs, 1)
    assert playground.run([*first, *second, total]).status == PLAN_DONE
    assert playground.model(total) == {"value": 15, "values": [11, 4]}


@pytest.mark.parametrize("turned", [False, True])
def test_samples_reach_the_opener_in_the_order_given(playground: Playground, turned: bool) -> None:
    data = playground.data([3, 1, 2])
    samples = data.samples[::-1] if turned else data.samples
    task = playground.task(playground.function("order"), data.inputs(samples))
    assert playground.run([task]).status == PLAN_DONE
    assert playground.model(task)["numbers"] == ([2, 1, 3] if turned else [3, 1, 2])


def test_one_task_gives_several_performances(playground: Playground, data: list[Data]) -> None:
    (trained,) = playground.chain(1, data[:1])
    tested = playground.task(
        playground.function("evaluate"),
        [*data[0].inputs(), output_of(trained)],
        outputs=("score", "count"),
    )
    plan = playground.run([trained, tested])
    assert plan.status == PLAN_DONE
    for client in playground.clients:
        found = client.get_performances(plan.key)
        assert dict(zip(found.identifier, found.performance, strict=True)) == {
            "score": pytest.approx(0.04),
            "count": pytest.approx(2.0),
        }


def test_independent_tasks_are_all_done(playground: Playground, data: list[Data]) -> None:
    function = playground.function("add")
    tasks = [playground.task(function, data[0].inputs()) for _ in range(12)]
    plan = playground.run(tasks)
    assert (plan.status, plan.done_count) == (PLAN_DONE, 12)


def test_tasks_can_be_added_to_a_plan_with_a_finished_parent(
    playground: Playground, data: list[Data]
) -> None:
    (first,) = playground.chain(1, data)
    plan = playground.run([first])
    second = playground.task(
        playground.function("add"), [*data[1].inputs(), output_of(first)], worker=1
    )
    playground.extend(plan, [second])
    assert playground.finish(plan).done_count == 2
    assert playground.model(second)["value"] == 15


def test_transient_model_disappears_after_its_use(playground: Playground, data: list[Data]) -> None:
    function = playground.function("add")
    passing = playground.task(function, data[0].inputs(), transient=True)
    last = playground.task(function, [*data[0].inputs(), output_of(passing)])
    plan = playground.submit([passing, last])
    assert playground.finish(plan).status == PLAN_DONE
    client = playground.clients[0]
    key = client.get_task_output_asset(passing.task_id, "shared").asset.key
    wait_for(lambda: client.get_model(key).address is None, "the transient model is disabled")
    with pytest.raises(substra.exceptions.HTTPError) as refusal:
        client.download_model(key, str(playground.folder))
    assert refusal.value.status_code == 410
    again = playground.task(function, [*data[0].inputs(), output_of(passing)])
    with pytest.raises(substra.exceptions.InvalidRequest, match="has been disabled"):
        playground.extend(plan, [again])


def test_model_of_the_other_organization_comes_through_the_proxy(
    playground: Playground, data: list[Data]
) -> None:
    (task,) = playground.chain(1, data[:1])
    playground.run([task])
    assert playground.model(task, client=1) == playground.model(task, client=0)


def test_files_of_the_other_organization_come_through_the_proxy(
    playground: Playground, data: list[Data], tmp_path: Path
) -> None:
    client = playground.clients[1]
    opener = client.download_dataset(data[0].dataset, str(tmp_path))
    assert "class ContentOpener" in Path(opener).read_text("utf-8")
    assert client.describe_dataset(data[0].dataset) == "# Contents\n"
    function = playground.function("add")
    assert Path(client.download_function(function, str(tmp_path))).stat().st_size > 0
    assert client.describe_function(function) == "# add\n"


def test_each_task_starts_with_nothing_that_another_left(
    playground: Playground, data: list[Data]
) -> None:
    function = playground.function("home")
    tasks = [playground.task(function, data[0].inputs()) for _ in range(2)]
    assert playground.run(tasks).status == PLAN_DONE
    assert [playground.model(task)["seen"] for task in tasks] == [[], []]


def _is_done(client: substra.Client, key: str) -> bool:
    return bool(client.get_task(key).status == ComputeTaskStatus.done)


def test_task_has_dates_rank_and_its_function(playground: Playground, data: list[Data]) -> None:
    tasks = playground.chain(2, data)
    playground.run(
        tasks
    )  # waits at the first organization; the other one hears of it by its own stream
    client, key = playground.clients[1], tasks[1].task_id
    wait_for(partial(_is_done, client, key), "the other one knows")
    task = client.get_task(key)
    assert task.rank == 1
    assert task.worker == playground.organizations[1]
    assert task.start_date <= task.end_date
    assert task.function.key == playground.function("add")
    assert [asset.identifier for asset in playground.clients[0].list_task_output_assets(task.key)]


def test_an_entry_point_need_not_be_python(playground: Playground, data: list[Data]) -> None:
    words = ["sh", "function.sh", "two words"]
    function = playground.function("order", extra="WORKDIR /sandbox\n", words=words)
    task = playground.task(function, data[1].inputs(), 1)
    assert playground.run([task]).status == PLAN_DONE
    assert playground.model(task) == {"value": 42, "word": "two words", "place": "sandbox"}
