"""A task from the ledger's event to DONE, and all that may go wrong between."""

import time
from pathlib import Path
from uuid import uuid4

import pytest

from backend.engine.compute.offering import Offering
from backend.engine.compute.queue import NewWork, WorkQueue
from backend.engine.compute.results import model_key
from backend.engine.compute.tables import Kind
from tests.integration.backend.engine.world import (
    ME,
    OTHER,
    Crash,
    World,
    eventually,
)

PERFORMANCE, MODEL = "ASSET_PERFORMANCE", "ASSET_MODEL"


def test_a_task_becomes_a_lease_and_its_result_becomes_models_and_done(world: World) -> None:
    function = world.function({"model": MODEL, "score": PERFORMANCE})
    task = world.task(world.plan(), function, outputs=("model", "score"))
    session = world.session()
    lease = world.lease(session)
    assert (lease["task"], lease["rank"], lease["timeout_s"]) == (str(task), 0, 0)
    assert {(o["identifier"], o["kind"]) for o in lease["outputs"]} == {
        ("model", MODEL),
        ("score", PERFORMANCE),
    }
    assert world.status(task) == "STATUS_EXECUTING"
    world.give(session, world.result(lease))
    assert world.status(task) == "STATUS_DONE"
    model = world.mine.model(str(model_key(task, "model", 0)))
    assert model.address.storage_address.endswith(f"/model/{model.key}/file/")
    assert world.storage.local_path(f"models/{model.key}/model").read_bytes() == b"weights"
    assert world.count("outbox") == 0
    assert world.work_state(task) == "done"
    assert world.count("profiling_step") == 3
    assert not (world.settings.MEDIA_ROOT / "outbox" / str(task)).exists()


def test_a_child_gets_the_path_of_its_parents_model(world: World) -> None:
    function = world.function(inputs={"shared": MODEL})
    plan, session = world.plan(), world.session()
    parent = world.task(plan, function)
    child = world.task(plan, function, parents={"shared": (str(parent), "model")})
    world.give(session, world.result(world.lease(session)))
    lease = world.lease(session)
    assert lease["task"] == str(child)
    (given,) = lease["inputs"]
    assert (given["identifier"], given["kind"]) == ("shared", MODEL)
    assert Path(given["path"]).read_bytes() == b"weights"


def test_a_task_that_has_everything_here_is_ready_with_the_event_itself(world: World) -> None:
    plan, function, session = world.plan(), world.function(), world.session()
    parent = world.task(plan, function)
    result = world.result(world.lease(session))
    world.preparation.turn = lambda: False  # type: ignore[method-assign]
    world.give(session, result)
    child = world.task(plan, world.function(inputs={"shared": MODEL}),
                       parents={"shared": (str(parent), "model")})  # fmt: skip
    lease = world.lease(session)
    assert lease["task"] == str(child)
    assert Path(lease["inputs"][0]["path"]).read_bytes() == b"weights"


def test_a_canceled_plan_stops_its_running_task_and_cancels_the_others(world: World) -> None:
    function = world.function(inputs={"shared": MODEL})
    plan, session = world.plan(), world.session()
    running = world.task(plan, function)
    waiting = world.task(plan, function, parents={"shared": (str(running), "model")})
    lease = world.lease(session)
    started = time.monotonic()
    world.mine.cancel_plan(plan)
    beat = eventually(
        lambda: world.service.beat(session, {running: lease["lock_token"]}).canceled or None,
        "the runner is told",
    )
    assert beat == (running,)
    assert time.monotonic() - started < 2
    for task in (running, waiting):
        eventually(lambda t=task: world.status(t) == "STATUS_CANCELED", "canceled")  # type: ignore[misc]
    world.give(session, world.result(lease))
    assert world.status(running) == "STATUS_CANCELED"
    assert world.count("outbox") == 0
    assert world.count("model_file") == 0


def test_a_function_that_only_a_canceled_plan_uses_is_canceled_before_its_build(
    world: World,
) -> None:
    function = world.function(ready=False)
    plan = world.plan()
    task = world.task(plan, function)
    world.mine.cancel_plan(plan)
    eventually(lambda: world.mine.function(function).status == 4, "FUNCTION_STATUS_CANCELED")
    eventually(lambda: world.status(task) == "STATUS_CANCELED", "its task too")
    assert world.work_state(function, "build") == "new", "nobody began to build it"


def test_a_failed_function_fails_its_task_with_the_log(world: World) -> None:
    task = world.task(world.plan(), world.function())
    session = world.session()
    world.give(session, world.failure(world.lease(session), "EXECUTION", b"Traceback: no"))
    assert world.status(task) == "STATUS_FAILED"
    row = eventually(
        lambda: world.one("SELECT error_type, logs_address FROM failure_report"), "the report"
    )
    assert row.error_type == "ERROR_TYPE_EXECUTION"
    assert row.logs_address.endswith(f"/logs/{task}/file/")
    assert world.storage.local_path(f"logs/{task}/log").read_bytes() == b"Traceback: no"


def test_a_result_that_does_not_fit_the_task_is_an_internal_failure(world: World) -> None:
    task = world.task(world.plan(), world.function())
    session = world.session()
    result = world.result(world.lease(session))
    world.give(session, result.model_copy(update={"outputs": []}))
    assert world.status(task) == "STATUS_FAILED"
    row = eventually(lambda: world.one("SELECT error_type FROM failure_report"), "the report")
    assert row.error_type == "ERROR_TYPE_INTERNAL"


def test_the_same_result_twice_is_reported_once(world: World) -> None:
    task = world.task(world.plan(), world.function())
    session = world.session()
    result = world.result(world.lease(session))
    world.give(session, result)
    world.breaking.calls.clear()
    assert world.service.give(session, result) is None
    assert world.breaking.calls == []
    assert world.status(task) == "STATUS_DONE"


def test_a_late_result_is_accepted_while_nobody_else_has_the_task(world: World) -> None:
    task = world.task(world.plan(), world.function())
    session = world.session()
    lease = world.lease(session)
    world.expire()
    assert world.work_state(task) == "ready"
    world.give(session, world.result(lease))
    assert world.status(task) == "STATUS_DONE"
    assert world.service.take(session) is None


def test_a_late_result_is_refused_once_somebody_else_has_the_task(world: World) -> None:
    task = world.task(world.plan(), world.function())
    first, second = world.session(), world.session()
    late = world.lease(first)
    world.expire()
    lease = world.lease(second)
    assert lease["task"] == str(task)
    world.give(first, world.result(late, b"stale"))
    assert world.status(task) == "STATUS_EXECUTING"
    world.give(second, world.result(lease, b"fresh"))
    key = model_key(task, "model", 0)
    assert world.storage.local_path(f"models/{key}/model").read_bytes() == b"fresh"
    assert world.status(task) == "STATUS_DONE"


def test_a_task_that_loses_its_workers_again_and_again_fails(world: World) -> None:
    task = world.task(world.plan(), world.function())
    for _ in range(5):
        assert world.lease(world.session())["task"] == str(task)
        world.expire()
    assert world.service.take(world.session()) is None
    assert world.status(task) == "STATUS_FAILED"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", ["register_performance", "register_models", "apply_task_action"])
def test_a_crash_at_any_call_of_the_report_is_resumed_from_the_outbox(
    world: World, call: str, after: bool
) -> None:
    function = world.function({"model": MODEL, "score": PERFORMANCE})
    task = world.task(world.plan(), function, outputs=("model", "score"))
    session = world.session()
    result = world.result(world.lease(session))
    world.breaking.call, world.breaking.after = call, after
    with pytest.raises(Crash):
        world.give(session, result)
    assert world.count("outbox") == 1
    assert world.service.take(session) is None  # never leased again
    world.expire()
    assert world.service.take(session) is None
    assert world.reporter.resume() is True
    assert world.status(task) == "STATUS_DONE"
    assert world.count("outbox") == 0
    assert world.storage.exists(f"models/{model_key(task, 'model', 0)}/model")
    eventually(lambda: world.row_status(task) == "STATUS_DONE", "the event")
    assert (world.count("performance"), world.count("model")) == (1, 1)


@pytest.mark.parametrize("lost", ["register_models", "apply_task_action"])
def test_models_are_readable_here_before_the_ledger_calls_their_task_done(
    world: World, lost: str
) -> None:
    task = world.task(world.plan(), world.function())
    session = world.session()
    result = world.result(world.lease(session))
    world.halt()  # no event reaches the rows any more: another organization's bridge may be faster
    world.breaking.call, world.breaking.after = lost, lost == "register_models"
    with pytest.raises(Crash):
        world.give(session, result)
    if lost == "register_models":
        world.expire()
        assert world.reporter.resume() is True
    assert world.count("model") == 1
    assert world.row_status(task) != "STATUS_DONE"


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_the_failure_report_is_resumed(world: World, after: bool) -> None:
    task = world.task(world.plan(), world.function())
    session = world.session()
    result = world.failure(world.lease(session), "EXECUTION")
    world.breaking.call, world.breaking.after = "register_failure_report", after
    with pytest.raises(Crash):
        world.give(session, result)
    world.expire()
    assert world.reporter.resume() is True
    assert world.status(task) == "STATUS_FAILED"
    assert world.count("outbox") == 0
    assert world.count("log_file") == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_the_start_of_a_task_leaves_it_for_the_next_claim(
    world: World, after: bool
) -> None:
    task = world.task(world.plan(), world.function())
    eventually(lambda: world.work_state(task) == "ready", "prepared")
    world.breaking.call, world.breaking.after = "apply_task_action", after
    work = world.service.take(world.session())
    assert work is not None
    with pytest.raises(Crash):
        world.service.start(work)
    world.expire()
    session = world.session()
    lease = world.lease(session)
    assert lease["task"] == str(task)
    world.give(session, world.result(lease))
    assert world.status(task) == "STATUS_DONE"


def test_a_transient_model_is_disabled_and_its_file_deleted_after_its_last_use(
    world: World,
) -> None:
    function = world.function(inputs={"shared": MODEL})
    plan, session = world.plan(), world.session()
    parent = world.task(plan, function, transient=True)
    world.task(plan, function, parents={"shared": (str(parent), "model")})
    world.give(session, world.result(world.lease(session)))
    file = f"models/{model_key(parent, 'model', 0)}/model"
    assert world.storage.exists(file)
    world.give(session, world.result(world.lease(session)))
    eventually(lambda: not world.storage.exists(file), "the file is gone")
    assert not world.mine.model(str(model_key(parent, "model", 0))).HasField("address")


def test_a_transient_model_of_another_organization_leaves_our_cache_too(world: World) -> None:
    function = world.function(inputs={"shared": MODEL})
    plan, session = world.plan(), world.session()
    parent = world.task(plan, function, transient=True, worker=OTHER)
    world.task(plan, function, parents={"shared": (str(parent), "model")})
    model = model_key(parent, "model", 0)
    cached = world.cache.models / str(model)
    cached.write_bytes(b"weights")
    world.finish_elsewhere(parent, model)
    world.give(session, world.result(world.lease(session)))
    assert cached.exists()
    world.theirs.disable_output(str(parent), "model")
    eventually(lambda: not cached.exists(), "it leaves the cache")


def test_a_cancel_stands_before_other_chores(world: World) -> None:
    with world.database.transaction() as session:
        queue = WorkQueue(session)
        queue.add([NewWork(Kind.DISABLE, uuid4(), "mychannel") for _ in range(3)])
        queue.add([NewWork(Kind.CANCEL, plan := uuid4(), "mychannel", plan)])
        claimed = queue.claim((Kind.CANCEL, Kind.DISABLE, Kind.DELETE), uuid4())
        assert claimed is not None
        assert claimed.key == plan


def test_a_task_of_a_failed_plan_is_canceled_when_its_turn_comes(world: World) -> None:
    function = world.function()
    plan, session = world.plan(), world.session()
    first, second = world.task(plan, function), world.task(plan, function)
    lease = world.lease(session)
    world.give(session, world.failure(lease, "EXECUTION"))
    other = second if lease["task"] == str(first) else first
    eventually(lambda: world.status(other) == "STATUS_CANCELED", "canceled")
    assert world.service.take(session) is None


def test_a_refused_image_is_an_internal_failure_and_other_trouble_waits(world: World) -> None:
    from backend.engine.images.transfer import ImageForGood
    from backend.kit.errors import PeerUnreachable
    from tests.integration.backend.engine.world import IMAGE

    world.images.refused[IMAGE] = PeerUnreachable()
    task = world.task(world.plan(), world.function())
    cause = eventually(
        lambda: (world.one("SELECT cause FROM work WHERE kind = 'task'") or [None])[0], "a cause"
    )
    assert "cannot be reached" in cause
    assert world.status(task) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"
    world.images.refused[IMAGE] = ImageForGood("refused")
    eventually(lambda: world.status(task) == "STATUS_FAILED", "given up")
    eventually(lambda: world.count("outbox") == 0, "reported")
    assert world.mine.task(str(task)).worker == ME


def test_a_task_that_can_never_fit_fails_and_its_log_says_why(world: World) -> None:
    task = world.task(world.plan(metadata={"substra.cpus": "100000"}), world.function())
    eventually(lambda: world.status(task) == "STATUS_FAILED", "given up")
    row = eventually(lambda: world.one("SELECT error_type FROM failure_report"), "the report")
    assert row.error_type == "ERROR_TYPE_EXECUTION"
    log = world.storage.local_path(f"logs/{task}/log").read_text("utf-8")
    assert "asks for 100000 CPUs" in log


def test_a_plan_of_low_priority_gets_fewer_turns_and_high_is_not_for_strangers(
    world: World,
) -> None:
    function = world.function()
    low = world.plan(metadata={"substra.priority": "low"})
    high = world.plan(metadata={"substra.priority": "high"})
    for plan in (low, high):
        world.task(plan, function)
    query = "SELECT weight FROM work_turn WHERE compute_plan_key = :plan AND weighed"
    row = eventually(lambda: world.one(query, plan=low), "weighed")
    assert row.weight == 0.25
    assert eventually(lambda: world.one(query, plan=high), "weighed").weight == 1.0
    world.execute(  # as if one of our administrators had created it
        "INSERT INTO compute_plan_creator (compute_plan_key, channel, user_id) "
        "VALUES (:plan, 'mychannel', 1)",
        plan=high,
    )
    world.execute(
        'INSERT INTO "user" (id, username, password, email, active, date_joined) '
        "VALUES (1, 'a', '', '', true, now())"
    )
    world.execute(
        "INSERT INTO user_channel (user_id, channel_name, role) VALUES (1, 'mychannel', 'ADMIN')"
    )
    world.execute("UPDATE work_turn SET weighed = false")
    row = eventually(lambda: world.one(query, plan=high), "weighed again")
    assert row.weight == 4.0


def test_the_lease_says_what_the_task_may_take(world: World) -> None:
    world.task(world.plan(metadata={"substra.memory": "1MiB"}), world.function())
    lease = world.lease(world.session())
    assert lease["resources"]["memory_bytes"] == 2**20
    assert world.one("SELECT memory_bytes FROM work WHERE kind = 'task'")[0] == 2**20


def test_the_sites_time_limit_reaches_the_lease(world: World) -> None:
    settings = world.settings.model_copy(update={"TASK_TIMEOUT": 77})
    world.preparation.offering = Offering(settings, world.cache, world.images, world.chainkeys)
    world.task(world.plan(), world.function())
    assert world.lease(world.session())["timeout_s"] == 77
