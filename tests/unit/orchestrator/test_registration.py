"""RegisterTasks: order, derivations and refusals (orchestrator.md 6.5)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import BadRequest, Conflict, Invalid, NotFound
from orchestrator.rules.registration import topological
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator.computeplan_pb2 import PLAN_ACTION_CANCELED, ApplyPlanActionParam
from protos.orchestrator.computetask_pb2 import NewComputeTask
from protos.orchestrator.function_pb2 import (
    FUNCTION_ACTION_BUILDING,
    FUNCTION_ACTION_CANCELED,
    FUNCTION_ACTION_FAILED,
    FUNCTION_ACTION_READY,
)
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.budget import budget
from tests.unit.orchestrator.channel import Channel

BUILT = (FUNCTION_ACTION_BUILDING, FUNCTION_ACTION_READY)


@pytest.fixture
def channel() -> Channel:
    return Channel("a", "b", "c")


# ------------------------------------------------------------------ derivations
def test_batch_comes_back_in_topological_order_with_ranks(channel: Channel) -> None:
    plan, function = channel.plan(), channel.function(*BUILT)
    first = r.new_task(plan, function, worker="a")
    second = r.new_task(plan, function, r.parent(first.key), worker="b")
    third = r.new_task(plan, function, r.parent(first.key), r.parent(second.key), worker="a")
    channel.told()
    tasks = channel.register(third, second, first)
    assert [task.key for task in tasks] == [first.key, second.key, third.key]
    assert [task.message.rank for task in tasks if task.message] == [0, 1, 2]
    assert channel.told() == [
        "COMPUTE_TASK CREATED WAITING_FOR_EXECUTOR_SLOT",
        "COMPUTE_TASK CREATED WAITING_FOR_PARENT_TASKS",
        "COMPUTE_TASK CREATED WAITING_FOR_PARENT_TASKS",
    ]


def test_worker_is_the_owner_of_the_data(channel: Channel) -> None:
    plan = channel.plan()
    function = channel.function(*BUILT, inputs=r.TRAIN_INPUTS)
    manager, sample = channel.data()
    (task,) = channel.register(
        r.new_task(plan, function, r.asset("opener", manager), r.asset("samples", sample))
    )
    assert task.worker == "b"
    assert task.message is not None
    assert list(task.message.logs_permission.authorized_ids) == ["b"]


def test_logs_permission_is_the_union_of_the_parents_and_the_owner(channel: Channel) -> None:
    plan = channel.plan()
    function = channel.function(*BUILT)
    train = channel.function(*BUILT, inputs=r.TRAIN_INPUTS)
    manager, sample = channel.data()
    data = [r.asset("opener", manager), r.asset("samples", sample)]
    first = r.new_task(plan, train, *data)
    second = r.new_task(plan, function, r.parent(first.key), worker="c")
    tasks = channel.register(first, second)
    assert tasks[1].message is not None
    assert set(tasks[1].message.logs_permission.authorized_ids) == {"a", "b"}


def test_output_permissions_belong_to_the_owner_of_the_task(channel: Channel) -> None:
    outputs = {"model": r.new_output(r.private("b"))}
    task = r.new_task(channel.plan(), channel.function(*BUILT), worker="c", outputs=outputs)
    (stored,) = channel.register(task)
    assert stored.message is not None
    permission = stored.message.outputs["model"].permissions
    assert list(permission.process.authorized_ids) == ["b", "a"]
    assert permission.process == permission.download


@pytest.mark.parametrize(
    ("actions", "status"),
    [
        ((), t.STATUS_WAITING_FOR_BUILDER_SLOT),
        ((FUNCTION_ACTION_BUILDING,), t.STATUS_BUILDING),
        (BUILT, t.STATUS_WAITING_FOR_EXECUTOR_SLOT),
        ((FUNCTION_ACTION_BUILDING, FUNCTION_ACTION_FAILED), t.STATUS_FAILED),
        ((FUNCTION_ACTION_CANCELED,), t.STATUS_CANCELED),
    ],
)
def test_first_status_follows_the_function(
    channel: Channel, actions: tuple[int, ...], status: int
) -> None:
    plan = channel.plan()
    (task,) = channel.register(r.new_task(plan, channel.function(*actions), worker="a"))
    assert task.status == status
    assert channel.stored_plan(plan).HasField("failure_date") is (status == t.STATUS_FAILED)


def test_child_of_a_canceled_task_is_born_canceled(channel: Channel) -> None:
    plan, function = channel.plan(), channel.function(*BUILT)
    (first,) = channel.register(r.new_task(plan, function, worker="a"))
    channel.act(first.key, t.TASK_ACTION_CANCELED)
    (child,) = channel.register(r.new_task(plan, function, r.parent(first.key), worker="a"))
    assert child.status == t.STATUS_CANCELED


def test_a_canceled_plan_still_takes_tasks(channel: Channel) -> None:
    plan, function = channel.plan(), channel.function(*BUILT)
    cancel = ApplyPlanActionParam(key=plan, action=PLAN_ACTION_CANCELED)
    channel.call("ComputePlanService/ApplyPlanAction", cancel)
    assert len(channel.register(r.new_task(plan, function, worker="a"))) == 1


# ------------------------------------------------------------------ the batch
def test_one_bad_task_leaves_nothing_of_its_batch(channel: Channel) -> None:
    plan, function = channel.plan(), channel.function(*BUILT)
    good = r.new_task(plan, function, worker="a")
    bad = r.new_task(plan, r.key(), worker="a")
    with pytest.raises(NotFound, match="function"):
        channel.register(good, bad)
    assert good.key not in channel.known.tasks


def test_empty_batch_is_refused(channel: Channel) -> None:
    with pytest.raises(BadRequest, match="OE0003"):
        channel.register()


def test_same_key_twice_in_a_batch_is_a_conflict(channel: Channel) -> None:
    task = r.new_task(channel.plan(), channel.function(*BUILT), worker="a")
    with pytest.raises(Conflict, match=task.key):
        channel.register(task, task)


def test_stored_key_is_a_conflict(channel: Channel) -> None:
    task = r.new_task(channel.plan(), channel.function(*BUILT), worker="a")
    channel.register(task)
    with pytest.raises(Conflict, match=f'OE0006: computetask with key "{task.key}"'):
        channel.register(task)


def test_cycle_is_refused_with_the_number_of_tasks_left(channel: Channel) -> None:
    plan, function = channel.plan(), channel.function(*BUILT)
    one = r.new_task(plan, function, worker="a")
    two = r.new_task(plan, function, r.parent(one.key), worker="a")
    one.inputs.append(r.parent(two.key))
    free = r.new_task(plan, function, worker="a")
    with pytest.raises(Invalid, match=r"OE0101.*: 2 tasks left"):
        channel.register(one, two, free)


def test_unknown_parent_is_refused(channel: Channel) -> None:
    task = r.new_task(channel.plan(), channel.function(*BUILT), r.parent(r.key()), worker="a")
    with pytest.raises(Invalid, match="1 tasks left"):
        channel.register(task)


@budget(100)
@given(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=30), st.randoms())
def test_any_acyclic_batch_is_sorted_parents_first(parents: list[set[int]], random: Any) -> None:
    tasks = [
        NewComputeTask(key=str(n), inputs=[r.parent(str(p)) for p in above if p < n])
        for n, above in enumerate(parents)
    ]
    random.shuffle(tasks)
    seen: set[str] = set()
    for task, named in topological(tasks, ()):
        assert {i.parent_task_output.parent_task_key for i in task.inputs} == set(named)
        assert set(named) <= seen
        seen.add(task.key)
    assert len(seen) == len(parents)
