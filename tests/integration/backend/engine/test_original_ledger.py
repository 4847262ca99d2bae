"""A whole organization on a ledger with the original's quirks: client, bridge, scheduler and reporter."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from backend.kit.database import Database
from backend.ports.ledger.errors import LedgerError
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import failure_report_pb2 as fr
from protos.orchestrator.common_pb2 import NewPermissions
from tests.integration.backend.engine.world import CHANNEL, ME, World, eventually
from tests.integration.backend.ports.original import FOUR_MIB, Original, unknown_event

PATIENCE_S = 90.0
"""Every change loses a race first, every third its answer, and the stream breaks again and again."""


@pytest.fixture
def original(
    database: Database, ledger_url: str, tmp_path: Path
) -> Iterator[tuple[World, Original]]:
    world = World(database, ledger_url, tmp_path)
    face = Original(world.server)
    world.server = face  # type: ignore[assignment]
    world.start()
    yield world, face
    world.stop()


def _function(original: tuple[World, Original]) -> str:
    """A READY one: that builds survive lost answers is for others to show."""
    world, face = original
    face.calm = True
    function = world.function(inputs={"shared": "ASSET_MODEL"})
    face.calm = False
    return function


def _becomes(world: World, task: UUID, status: str) -> None:
    eventually(lambda: world.row_status(task) == status, f"{task} is {status}", PATIENCE_S)


def test_a_chain_is_carried_out_whatever_the_original_does(
    original: tuple[World, Original],
) -> None:
    world, face = original
    function = _function(original)
    plan, session = world.plan(), world.session()
    first = world.task(plan, function, transient=True)
    second = world.task(plan, function, parents={"shared": (str(first), "model")})
    for task in (first, second):
        eventually(lambda key=task: world.work_state(key) == "ready", "work", PATIENCE_S)  # type: ignore[misc]
        lease = world.lease(session)
        assert lease["task"] == str(task)
        world.give(session, world.result(lease))
        _becomes(world, task, "STATUS_DONE")
    assert world.status(second) == "STATUS_DONE"
    assert world.count("model") == 2
    assert world.count("parked_event") == 0
    disabled = "SELECT 1 FROM model WHERE compute_task_key = :key AND model_address IS NULL"
    eventually(lambda: world.one(disabled, key=first), "the first model is disabled", PATIENCE_S)
    for what in ("race", "answer lost", "stream broken"):
        assert face.told[what] > 2, what


def test_a_failure_is_reported_and_heard_of(original: tuple[World, Original]) -> None:
    world, face = original
    function, plan, session = _function(original), world.plan(), world.session()
    task = world.task(plan, function)
    eventually(lambda: world.work_state(task) == "ready", "work", PATIENCE_S)
    world.give(session, world.failure(world.lease(session), "EXECUTION"))
    _becomes(world, task, "STATUS_FAILED")
    report = "SELECT error_type FROM failure_report WHERE asset_key = :key"
    found = eventually(lambda: world.one(report, key=task), "the report", PATIENCE_S)
    assert found.error_type == fr.ErrorType.Name(fr.ERROR_TYPE_EXECUTION)
    assert face.told["race"] > 2


def test_a_cursor_unknown_to_the_original_begins_anew(original: tuple[World, Original]) -> None:
    world, face = original
    plan = world.plan()
    known = "SELECT key FROM compute_plan WHERE key = :key"
    eventually(lambda: world.one(known, key=plan), "the plan", PATIENCE_S)
    world.execute("DELETE FROM compute_plan")
    world.execute("UPDATE last_event SET event_id = :unknown", unknown=unknown_event())
    second = world.plan()
    for key in (plan, second):
        eventually(lambda k=key: world.one(known, key=k), "the plan again", PATIENCE_S)  # type: ignore[misc]
    assert face.told["start unknown"] >= 1


def test_refusals_are_definite_and_tell_users_what_they_are(
    original: tuple[World, Original],
) -> None:
    world, face = original
    plan, function = world.plan(), _function(original)
    world.mine.cancel_plan(plan)
    began = time.monotonic()
    refusals = []
    for call in (
        lambda: world.mine.cancel_plan(plan),
        lambda: world.mine.apply_function_action(function, 1),  # type: ignore[arg-type]
        lambda: world.mine.function("no key"),
        lambda: world.connection.on("no-channel").version(),
    ):
        with pytest.raises(LedgerError) as refusal:
            call()
        refusals.append((refusal.value.code.name, refusal.value.details, refusal.value.status_code))
    assert [code for code, _, _ in refusals] == ["UNKNOWN"] * 4
    assert [status for _, _, status in refusals[:2]] == [400, 400]
    assert refusals[0][1].startswith("OE0109")
    assert (
        "transitionBuilding inappropriate in current state FUNCTION_STATUS_READY" in refusals[1][1]
    )
    assert time.monotonic() - began < PATIENCE_S
    asked = face.told["UNKNOWN"]
    assert asked == 4, "what is definite is asked once"


def test_pages_of_the_original_are_followed_to_their_end(original: tuple[World, Original]) -> None:
    world, face = original
    function, plan = _function(original), world.plan()
    tasks = [
        t.NewComputeTask(
            key=unknown_event(),
            function_key=function,
            compute_plan_key=plan,
            worker=ME,
            outputs={"model": t.NewComputeTaskOutput(permissions=NewPermissions(public=True))},
        )
        for _ in range(1_100)
    ]
    world.mine.register_tasks(tasks)
    found = [task.key for task in world.mine.tasks(t.TaskQueryFilter(compute_plan_key=plan))]
    assert sorted(found) == sorted(task.key for task in tasks)
    assert face.told["page"] == 3


def test_a_request_beyond_four_mib_is_refused_for_good(original: tuple[World, Original]) -> None:
    world, _ = original
    task = t.NewComputeTask(key=unknown_event(), metadata={"k": "v" * (FOUR_MIB + 1)})
    with pytest.raises(LedgerError) as refusal:
        world.mine.register_tasks([task])
    assert refusal.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.value.status_code == 413
    assert not refusal.value.outcome_unknown


def test_nothing_of_ours_asks_for_services_that_the_original_lacks(
    original: tuple[World, Original],
) -> None:
    world, _ = original
    assert world.connection.recent_version(CHANNEL)
    with grpc.insecure_channel(world.server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as refusal:
            stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED
