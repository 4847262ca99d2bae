"""The bridge on a real stream: replays, events that cannot be applied, cursors that are unknown."""

from collections.abc import Sequence
from functools import partial

import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend.assets.apply import Applied, apply_events
from backend.engine.bridge.applier import Applier, CursorMoved
from protos.orchestrator import event_pb2
from tests.integration.backend.engine.world import CHANNEL, ME, World, eventually

UNKNOWN = "11111111-1111-4111-8111-111111111111"


def history(world: World) -> list[event_pb2.Event]:
    """All events so far."""
    last = world.one("SELECT event_id FROM last_event WHERE channel = :c", c=CHANNEL).event_id
    events = []
    stream = world.mine.subscribe("")
    for event in stream:
        events.append(event)
        if event.id == last:
            break
    stream.cancel()
    return events


def snapshot(world: World) -> dict[str, int]:
    tables = ("function", "compute_plan", "compute_task", "compute_task_input", "work", "model")
    return {table: world.count(table) for table in tables}


def test_the_whole_history_again_changes_nothing(world: World) -> None:
    function = world.function()
    plan, session = world.plan(), world.session()
    done = world.task(plan, function)
    world.give(session, world.result(world.lease(session)))
    waiting = world.task(plan, function)
    eventually(lambda: world.work_state(waiting) == "ready", "the second task is ready")
    eventually(lambda: world.row_status(done) == "STATUS_DONE", "the first is done")
    before, events = snapshot(world), history(world)
    applier = Applier(world.database, CHANNEL, ME, lambda topics: None, world.preparation.offers)
    applier.restart()
    for event in events:  # one by one, then in one batch
        applier.apply([event])
    assert snapshot(world) == before
    applier.restart()
    applier.apply(events)
    assert snapshot(world) == before
    assert world.work_state(done) == "done"
    assert world.row_status(done) == "STATUS_DONE"


def apply_but(
    bad: event_pb2.Event, session: Session, channel: str, batch: Sequence[event_pb2.Event]
) -> Applied:
    """`apply_events`, except for one event."""
    if bad in batch:
        raise ValueError("what is this?")
    return apply_events(session, channel, batch)


def test_an_event_that_cannot_be_applied_is_parked_and_the_channel_goes_on(world: World) -> None:
    plan = world.plan()
    eventually(lambda: world.one("SELECT key FROM compute_plan WHERE key = :k", k=plan), "the plan")
    events = history(world)
    bad = next(event for event in events if event.asset_key == plan)
    applier = Applier(
        world.database,
        CHANNEL,
        ME,
        lambda topics: None,
        world.preparation.offers,
        partial(apply_but, bad),
    )
    applier.restart()
    applier.apply(events)
    assert applier.cursor == events[-1].id
    row = world.one("SELECT event_id, content, error FROM parked_event")
    assert row.event_id == bad.id
    assert event_pb2.Event.FromString(bytes(row.content)) == bad
    assert "what is this" in row.error


def test_a_second_bridge_with_an_old_cursor_changes_nothing(world: World) -> None:
    world.plan()
    eventually(lambda: world.count("compute_plan") == 1, "the plan")
    events = history(world)
    late = Applier(world.database, CHANNEL, ME, lambda topics: None, world.preparation.offers)
    with pytest.raises(CursorMoved):
        late.apply(events)


def test_a_cursor_that_the_ledger_does_not_know_starts_the_history_again(world: World) -> None:
    plan = world.plan()
    eventually(lambda: world.one("SELECT key FROM compute_plan WHERE key = :k", k=plan), "the plan")
    world.execute("DELETE FROM compute_plan")
    world.execute("UPDATE last_event SET event_id = :unknown", unknown=UNKNOWN)
    # the bridge finds its cursor moved at the next event, reads it, and hears that it is unknown
    second = world.plan()
    for key in (plan, second):
        eventually(
            lambda k=key: world.one("SELECT key FROM compute_plan WHERE key = :k", k=k),  # type: ignore[misc]
            "the plan again",
        )
    assert world.count("compute_plan") == 2
    assert history(world)[-1].asset_key == second, "the cursor is one that the ledger knows"


def test_batches_that_a_crash_of_postgresql_forgot_come_again_without_a_next_event(
    world: World,
) -> None:
    first, second = world.plan(), world.plan()
    eventually(lambda: world.count("compute_plan") == 2, "the plans")
    eventually(lambda: history(world)[-1].asset_key == second, "the cursor")
    (known,) = [event.id for event in history(world) if event.asset_key == first]
    with world.database.transaction() as session:  # as the rows were before the last batch
        connection = session.connection()
        connection.execute(text("UPDATE last_event SET event_id = :id"), {"id": known})
        connection.execute(text("DELETE FROM compute_plan WHERE key = :key"), {"key": second})
    eventually(lambda: world.count("compute_plan") == 2, "the second plan again")
    assert history(world)[-1].asset_key == second
