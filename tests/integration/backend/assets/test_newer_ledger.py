"""Events of a ledger that knows more than this version: values without a name here."""

from typing import Any

from sqlalchemy import text

from backend.assets.tasks.states import TaskStatus
from backend.fixtures.story import DONE, EXECUTING, WAITING_FOR_EXECUTOR_SLOT, Story, uuid
from backend.kit.database import Database
from protos.orchestrator import common_pb2, event_pb2, function_pb2

from .conftest import Tell

LATER: Any = 99
"""A number that no enum of the protos has yet."""


def _value(database: Database, query: str) -> object:
    with database.transaction() as session:
        return session.connection().execute(text(query)).scalar_one()


def _started() -> Story:
    story = Story()
    story.function("f", outputs=[("model", common_pb2.ASSET_MODEL)])
    story.plan("plan")
    return story


def test_an_unknown_status_leaves_a_task_where_it_is(database: Database, tell: Tell) -> None:
    story = _started()
    story.task("a", "plan", "f", status=WAITING_FOR_EXECUTOR_SLOT)
    story.moves("a", EXECUTING, LATER)
    applied = tell(story.events)
    assert [task.status for task in applied.tasks] == [TaskStatus.EXECUTING]
    story.events.clear()
    story.moves("a", DONE)
    assert [task.status for task in tell(story.events).tasks] == [TaskStatus.DONE]
    assert _value(database, "SELECT done_count FROM compute_plan") == 1


def test_a_task_that_is_created_in_an_unknown_status_moves_on_from_the_first(
    database: Database, tell: Tell
) -> None:
    story = _started()
    story.task("a", "plan", "f", status=LATER)
    applied = tell(story.events)
    assert [task.status for task in applied.tasks] == [TaskStatus.WAITING_FOR_BUILDER_SLOT]
    assert _value(database, "SELECT waiting_builder_slot_count FROM compute_plan") == 1
    story.events.clear()
    story.moves("a", EXECUTING, DONE)
    assert [task.status for task in tell(story.events).tasks] == [TaskStatus.DONE]
    assert _value(database, "SELECT status FROM compute_plan") == "PLAN_STATUS_DONE"


def test_unknown_kinds_and_error_types_are_stored_as_unknown(
    database: Database, tell: Tell
) -> None:
    story = _started()
    story.task("a", "plan", "f", status=EXECUTING)
    story.report("a", LATER)
    event = event_pb2.Event(id=str(uuid("an event")), channel="mychannel", event_kind=LATER)
    output = event.compute_task_output_asset
    output.compute_task_key, output.compute_task_output_identifier = str(uuid("a")), "model"
    output.asset_key, output.asset_kind = str(uuid("something")), LATER
    tell([*story.events, event])
    assert _value(database, "SELECT error_type FROM failure_report") == "ERROR_TYPE_UNSPECIFIED"
    kind = _value(database, "SELECT asset_kind FROM compute_task_output_asset")
    assert kind == "ASSET_UNKNOWN"


def test_an_unknown_status_of_a_function_does_not_take_it_back(
    database: Database, tell: Tell
) -> None:
    story = _started()
    story.function_moves("f", function_pb2.FUNCTION_STATUS_BUILDING)
    story.function_moves("f", LATER)
    tell(story.events)
    assert _value(database, "SELECT status FROM function") == "FUNCTION_STATUS_BUILDING"
