"""What follows from a move: cascades, reports, plans (orchestrator.md 7.3, 7.4, 8.3)."""

import pytest

from orchestrator.errors import (
    BadRequest,
    Denied,
    IllegalTransition,
    Invalid,
    NotFound,
    PlanTerminated,
    Unimplemented,
)
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import failure_report_pb2 as fr
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.computeplan_pb2 import (
    PLAN_ACTION_CANCELED,
    PLAN_ACTION_UNKNOWN,
    ApplyPlanActionParam,
)
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import Channel

BUILT = (f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)


@pytest.fixture
def channel() -> Channel:
    return Channel("a", "b")


# ------------------------------------------------------------------ cascades
def test_last_parent_releases_the_child(channel: Channel) -> None:
    plan, function = channel.plan(), channel.function(*BUILT)
    one, two = (r.new_task(plan, function, worker="a") for _ in range(2))
    child = r.new_task(plan, function, r.parent(one.key), r.parent(two.key), worker="b")
    channel.register(one, two, child)
    for task in (one, two):
        channel.act(task.key, t.TASK_ACTION_EXECUTING)
    channel.told()
    channel.act(one.key, t.TASK_ACTION_DONE)
    assert channel.told() == ["COMPUTE_TASK UPDATED DONE"]
    channel.act(two.key, t.TASK_ACTION_DONE)
    assert channel.events[-1].reason == f"Last parent task {two.key} done"
    assert channel.told() == [
        "COMPUTE_TASK UPDATED DONE",
        "COMPUTE_TASK UPDATED WAITING_FOR_EXECUTOR_SLOT slim",
    ]


def test_failed_task_fails_its_plan_silently_and_leaves_its_children(channel: Channel) -> None:
    task, plan = channel.running()
    function = channel.known.tasks[task].function
    (child,) = channel.register(r.new_task(plan, function, r.parent(task), worker="a"))
    channel.told()
    channel.act(task, t.TASK_ACTION_FAILED)
    assert channel.told() == ["COMPUTE_TASK UPDATED FAILED"]
    assert channel.stored_plan(plan).HasField("failure_date")
    assert child.status == t.STATUS_WAITING_FOR_PARENT_TASKS


def test_canceled_task_leaves_its_plan_alone(channel: Channel) -> None:
    task, plan = channel.running()
    channel.act(task, t.TASK_ACTION_CANCELED)
    assert not channel.stored_plan(plan).HasField("failure_date")


def test_reason_is_the_log_or_the_users_action(channel: Channel) -> None:
    task, _ = channel.running()
    channel.act(task, t.TASK_ACTION_DONE, log="task completed")
    assert channel.events[-1].reason == "task completed"
    with pytest.raises(
        IllegalTransition, match="transitionDone inappropriate in current state STATUS_DONE"
    ):
        channel.act(task, t.TASK_ACTION_DONE)


@pytest.mark.parametrize(
    ("actions", "status", "fails"),
    [
        ((f.FUNCTION_ACTION_BUILDING,), t.STATUS_BUILDING, False),
        (BUILT, t.STATUS_WAITING_FOR_EXECUTOR_SLOT, False),
        ((f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_FAILED), t.STATUS_FAILED, True),
        ((f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_CANCELED), t.STATUS_CANCELED, False),
        ((f.FUNCTION_ACTION_CANCELED,), t.STATUS_CANCELED, False),
    ],
)
def test_tasks_follow_their_function(
    channel: Channel, actions: tuple[int, ...], status: int, fails: bool
) -> None:
    plan, function = channel.plan(), channel.function()
    tasks = channel.register(*(r.new_task(plan, function, worker="b") for _ in range(3)))
    for action in actions:
        channel.told()
        channel.build(function, action)
    assert [task.status for task in tasks] == [status] * 3
    lines = channel.told()
    assert lines[0] == "FUNCTION UPDATED"
    assert lines[1:] == [f"COMPUTE_TASK UPDATED {t.ComputeTaskStatus.Name(status)[7:]} slim"] * 3  # type: ignore[arg-type]
    assert channel.stored_plan(plan).HasField("failure_date") is fails


def test_ready_function_lets_children_wait_for_their_parents(channel: Channel) -> None:
    plan, function = channel.plan(), channel.function()
    parent = r.new_task(plan, function, worker="a")
    child = r.new_task(plan, function, r.parent(parent.key), worker="a")
    channel.register(parent, child)
    for action in BUILT:
        channel.build(function, action)
    assert channel.known.tasks[parent.key].status == t.STATUS_WAITING_FOR_EXECUTOR_SLOT
    assert channel.known.tasks[child.key].status == t.STATUS_WAITING_FOR_PARENT_TASKS
    assert channel.events[-1].reason == f"Function {function} finished building"


def test_function_action_refusals(channel: Channel) -> None:
    function = channel.function()
    with pytest.raises(BadRequest, match="not supported"):
        channel.build(function, f.FUNCTION_ACTION_UNKNOWN)
    with pytest.raises(Denied):
        channel.build(function, f.FUNCTION_ACTION_BUILDING, by="b")
    with pytest.raises(NotFound):
        channel.build(r.key(), f.FUNCTION_ACTION_BUILDING)
    with pytest.raises(IllegalTransition, match=r"transitionFailed .* FUNCTION_STATUS_WAITING"):
        channel.build(function, f.FUNCTION_ACTION_FAILED)


def test_ready_function_without_image_can_be_renamed(channel: Channel) -> None:
    function = channel.function(*BUILT)
    channel.call("FunctionService/UpdateFunction", f.UpdateFunctionParam(key=function, name="new"))
    stored = channel.known.function(function)
    assert stored is not None
    assert (stored.name, stored.image.checksum) == ("new", "")


# ------------------------------------------------------------------ plans
def cancel(channel: Channel, plan: str, by: str = "a", action: int = PLAN_ACTION_CANCELED) -> None:
    param = ApplyPlanActionParam(key=plan, action=action)  # type: ignore[arg-type]
    channel.call("ComputePlanService/ApplyPlanAction", param, by=by)


def test_plan_is_canceled_once_and_its_tasks_are_not_touched(channel: Channel) -> None:
    task, plan = channel.running()
    cancel(channel, plan)
    assert channel.told() == ["COMPUTE_PLAN UPDATED"]
    assert channel.known.tasks[task].status == t.STATUS_EXECUTING
    with pytest.raises(PlanTerminated, match="OE0109"):
        cancel(channel, plan)


def test_failed_plan_cannot_be_canceled(channel: Channel) -> None:
    task, plan = channel.running()
    channel.act(task, t.TASK_ACTION_FAILED)
    with pytest.raises(PlanTerminated):
        cancel(channel, plan)
    assert not channel.stored_plan(plan).HasField("cancelation_date")


def test_canceled_plan_gets_no_failure_date(channel: Channel) -> None:
    task, plan = channel.running()
    cancel(channel, plan)
    channel.act(task, t.TASK_ACTION_FAILED)
    assert not channel.stored_plan(plan).HasField("failure_date")


def test_plan_action_refusals(channel: Channel) -> None:
    plan = channel.plan()
    with pytest.raises(NotFound):
        cancel(channel, r.key())
    with pytest.raises(Denied):
        cancel(channel, plan, by="b")
    with pytest.raises(Unimplemented, match="OE0010"):
        cancel(channel, plan, action=PLAN_ACTION_UNKNOWN)


# ------------------------------------------------------------------ failure reports
def report(
    channel: Channel, key: str, kind: int, error: int = 3, *, by: str = "a", logs: bool = False
) -> None:
    address = r.address() if logs else None
    request = fr.NewFailureReport(
        asset_key=key,
        error_type=error,  # type: ignore[arg-type]
        asset_type=kind,  # type: ignore[arg-type]
        logs_address=address,
    )
    channel.call("FailureReportService/RegisterFailureReport", request, by=by)


def test_report_fails_the_task_first(channel: Channel) -> None:
    task, plan = channel.running()
    report(channel, task, fr.FAILED_ASSET_COMPUTE_TASK, fr.ERROR_TYPE_EXECUTION, logs=True)
    assert channel.events[0].reason == "failure report registered"
    assert channel.told() == ["COMPUTE_TASK UPDATED FAILED", "FAILURE_REPORT CREATED"]
    assert channel.stored_plan(plan).HasField("failure_date")
    with pytest.raises(BadRequest):
        report(channel, task, fr.FAILED_ASSET_COMPUTE_TASK)


def test_report_on_a_function_takes_its_building_tasks_along(channel: Channel) -> None:
    plan, function = channel.plan(), channel.function(f.FUNCTION_ACTION_BUILDING)
    channel.register(*(r.new_task(plan, function, worker="b") for _ in range(2)))
    channel.told()
    with pytest.raises(Denied):
        report(channel, function, fr.FAILED_ASSET_FUNCTION, by="b")
    report(channel, function, fr.FAILED_ASSET_FUNCTION)
    assert channel.told() == [
        "FUNCTION UPDATED",
        "COMPUTE_TASK UPDATED FAILED slim",
        "COMPUTE_TASK UPDATED FAILED slim",
        "FAILURE_REPORT CREATED",
    ]
    with pytest.raises(IllegalTransition):
        report(channel, function, fr.FAILED_ASSET_FUNCTION)


@pytest.mark.parametrize(
    ("error", "with_logs", "valid"),
    [
        (0, False, False),
        (1, False, False),
        (1, True, True),
        (2, True, True),
        (3, False, True),
        (3, True, False),
    ],
)
def test_logs_come_with_build_and_execution_errors_only(
    channel: Channel, error: int, with_logs: bool, valid: bool
) -> None:
    task, _ = channel.running()
    if valid:
        report(channel, task, fr.FAILED_ASSET_COMPUTE_TASK, error, logs=with_logs)
        assert channel.known.tasks[task].status == t.STATUS_FAILED
    else:
        with pytest.raises(Invalid, match="failurereport is not valid"):
            report(channel, task, fr.FAILED_ASSET_COMPUTE_TASK, error, logs=with_logs)


def test_report_on_nothing_is_refused(channel: Channel) -> None:
    task, _ = channel.running()
    with pytest.raises(BadRequest, match="OE0003"):
        report(channel, task, fr.FAILED_ASSET_UNKNOWN)
    with pytest.raises(Denied):
        report(channel, task, fr.FAILED_ASSET_COMPUTE_TASK, by="b")
