"""What a stream of ledger events makes of the rows, in whatever batches it comes."""

import random
from collections import Counter
from uuid import UUID

import pytest
from sqlalchemy import text

from backend.assets.tasks.states import TaskStatus
from backend.fixtures.story import (
    BUILDING,
    CANCELED,
    DONE,
    EXECUTING,
    FAILED,
    ORG_2,
    WAITING_FOR_EXECUTOR_SLOT,
    WAITING_FOR_PARENT_TASKS,
    Story,
    uuid,
)
from backend.kit.database import Database
from protos.orchestrator import common_pb2, computetask_pb2, failure_report_pb2, function_pb2

from .conftest import Tell, contents

MODEL, PERFORMANCE = common_pb2.ASSET_MODEL, common_pb2.ASSET_PERFORMANCE


def trained() -> Story:
    """Two organizations train, aggregate and test; then the plan of another function fails at its build."""
    story = Story()
    story.function("train")
    story.function("test", outputs=[("performance", PERFORMANCE)])
    story.plan("plan", round="1")
    story.task("a", "plan", "train", round_idx="1", __tag__="first")
    story.task("b", "plan", "train", worker=ORG_2)
    story.task("both", "plan", "train", parents=[("a", "model"), ("b", "model")], rank=1)
    story.task(
        "score", "plan", "test", parents=[("both", "model")], outputs=["performance"], rank=2
    )
    for name in ("train", "test"):
        story.function_moves(name, function_pb2.FUNCTION_STATUS_BUILDING)
        story.profiling_step(name, "build_image", 1_500_000)
        story.function_moves(name, function_pb2.FUNCTION_STATUS_READY)
    story.moves("a", BUILDING, WAITING_FOR_EXECUTOR_SLOT)
    story.moves("b", BUILDING, WAITING_FOR_EXECUTOR_SLOT)
    story.moves("both", BUILDING, WAITING_FOR_PARENT_TASKS)
    story.moves("score", BUILDING, WAITING_FOR_PARENT_TASKS)
    for name in ("a", "b"):
        story.moves(name, EXECUTING)
        story.model(f"model {name}", name)
        story.moves(name, DONE)
    story.moves("both", WAITING_FOR_EXECUTOR_SLOT, EXECUTING)
    story.model("model both", "both")
    story.moves("both", DONE)
    story.model_disabled("model a", "a")
    story.moves("score", WAITING_FOR_EXECUTOR_SLOT, EXECUTING)
    story.performance("score", 0.3)
    story.moves("score", DONE)
    story.plan_renamed("plan", "renamed")
    story.function("broken")
    story.plan("second")
    story.task("never", "second", "broken")
    story.function_moves("broken", function_pb2.FUNCTION_STATUS_BUILDING)
    story.moves("never", BUILDING)
    story.function_moves("broken", function_pb2.FUNCTION_STATUS_FAILED)
    story.moves("never", FAILED)
    story.report("broken", failure_report_pb2.ERROR_TYPE_BUILD, of_function=True)
    story.task("too late", "second", "broken", status=FAILED)
    story.plan("third")
    story.task("stopped", "third", "train", status=WAITING_FOR_EXECUTOR_SLOT)
    story.plan_canceled("third")
    story.moves("stopped", CANCELED)
    return story


def plan_of(database: Database, name: str) -> dict[str, object]:
    with database.transaction() as session:
        rows = session.connection().execute(
            text("SELECT * FROM compute_plan WHERE key = :key"), {"key": uuid(name)}
        )
        return dict(rows.mappings().one())


def task_of(database: Database, name: str) -> dict[str, object]:
    with database.transaction() as session:
        rows = session.connection().execute(
            text("SELECT * FROM compute_task WHERE key = :key"), {"key": uuid(name)}
        )
        return dict(rows.mappings().one())


def test_whole_story_gives_the_rows_that_it_tells(database: Database, tell: Tell) -> None:
    story = trained()
    tell(story.events)
    plan = plan_of(database, "plan")
    assert (plan["status"], plan["name"]) == ("PLAN_STATUS_DONE", "renamed")
    assert (plan["done_count"], plan["executing_count"]) == (4, 0)
    assert plan["end_date"] == task_of(database, "score")["end_date"]
    task = task_of(database, "a")
    assert (task["tag"], task["metadata"]) == ("first", {"round_idx": "1"})
    assert task["start_date"] is not None
    assert task["outputs"]["model"]["transient"] is False  # type: ignore[index]
    second = plan_of(database, "second")
    assert second["status"] == "PLAN_STATUS_FAILED"
    assert second["failed_task_key"] == uuid("never")
    third = plan_of(database, "third")
    assert third["status"] == "PLAN_STATUS_CANCELED"
    assert third["end_date"] == third["cancelation_date"] is not None


def test_build_failure_explains_tasks_registered_before_and_after(
    database: Database, tell: Tell
) -> None:
    tell(trained().events)
    for name in ("never", "too late"):
        task = task_of(database, name)
        assert task["error_type"] == "ERROR_TYPE_BUILD"
        assert str(task["logs_address"]).endswith("/file/")
        assert task["end_date"] is not None


@pytest.mark.parametrize("seed", range(4))
def test_batches_and_repetitions_change_nothing(database: Database, tell: Tell, seed: int) -> None:
    story = trained()
    tell(story.events)
    once = contents(database)
    tell(story.events)
    assert contents(database) == once, "the whole again, in one batch"
    dice = random.Random(seed)
    with database.transaction() as session:
        names = ", ".join(f'"{name}"' for name in once)
        session.connection().execute(text(f"TRUNCATE {names} CASCADE"))
    position = 0
    while position < len(story.events):
        end = position + dice.randint(1, 9)
        tell(story.events[max(0, position - dice.randint(0, 5)) : end])
        position = end
    assert contents(database) == once, "in pieces that overlap"


def test_counts_of_a_plan_are_those_of_its_tasks(database: Database, tell: Tell) -> None:
    story = trained()
    for event in story.events:
        tell([event])
        with database.transaction() as session:
            rows = session.connection().execute(
                text("SELECT compute_plan_key AS plan, status FROM compute_task")
            )
            counted = Counter((row.plan, row.status) for row in rows)
            plans = session.connection().execute(text("SELECT * FROM compute_plan")).mappings()
            for plan in plans:
                assert plan["done_count"] == counted[plan["key"], "STATUS_DONE"]
                assert plan["failed_count"] == counted[plan["key"], "STATUS_FAILED"]
                assert plan["executing_count"] == counted[plan["key"], "STATUS_EXECUTING"]
                assert plan["building_count"] == counted[plan["key"], "STATUS_BUILDING"]


def test_late_event_does_not_move_a_task_back(database: Database, tell: Tell) -> None:
    story = trained()
    tell(story.events)
    before = task_of(database, "a")
    tell([e for e in story.events if e.compute_task.key == str(uuid("a"))][:3])
    assert task_of(database, "a") == before


def test_output_may_become_several_assets(database: Database, tell: Tell) -> None:
    story = Story()
    story.function("train")
    story.plan("plan")
    story.task("a", "plan", "train", status=WAITING_FOR_EXECUTOR_SLOT)
    story.task("b", "plan", "train", parents=[("a", "model")], rank=1)
    story.moves("a", EXECUTING)
    for name in ("one", "two", "three"):
        story.model(name, "a")
    tell(story.events)
    tell(story.events)
    with database.transaction() as session:
        rows = session.connection().execute(
            text("SELECT asset_key FROM compute_task_output_asset ORDER BY position")
        )
        assert [UUID(row.asset_key) for row in rows] == [uuid("one"), uuid("two"), uuid("three")]


def test_applied_names_what_the_engine_has_to_do(tell: Tell) -> None:
    story = trained()
    applied = tell(story.events)
    assert [f.key for f in applied.functions_created] == [
        uuid("train"),
        uuid("test"),
        uuid("broken"),
    ]
    assert {f.key for f in applied.functions_ready} == {uuid("train"), uuid("test")}
    assert applied.tasks_ready == []
    assert len(applied.tasks_final) == len(story.tasks)
    assert applied.plans_canceled == [uuid("third")]
    assert applied.plans_failed == [uuid("second")]
    assert [(m.key, m.task) for m in applied.models_disabled] == [(uuid("model a"), uuid("a"))]


def test_task_ready_is_named_although_this_server_wrote_it_before(tell: Tell) -> None:
    story = Story()
    story.function("train")
    story.plan("plan")
    story.task("a", "plan", "train", status=WAITING_FOR_EXECUTOR_SLOT, worker=ORG_2)
    tell(story.events)
    applied = tell(story.events)
    assert [(t.key, t.worker, t.status) for t in applied.tasks_ready] == [
        (uuid("a"), ORG_2, TaskStatus.WAITING_FOR_EXECUTOR_SLOT)
    ]


def test_same_dates_whatever_the_batches(database: Database, tell: Tell) -> None:
    """Organizations must agree on when a plan started, wherever their batches end."""
    story = trained()
    for event in story.events:
        tell([event])
    plan = plan_of(database, "plan")
    first_move = next(
        e.timestamp.ToDatetime()
        for e in story.events
        if e.compute_task.status == computetask_pb2.STATUS_BUILDING
    )
    assert plan["start_date"].replace(tzinfo=None) == first_move  # type: ignore[attr-defined]


def test_foreign_nul_does_not_stop_the_stream(database: Database, tell: Tell) -> None:
    story = Story()
    story.function("train")
    story.plan("plan", note="a\0b")
    tell(story.events)
    assert plan_of(database, "plan")["metadata"] == {"note": "a\ufffdb"}
