"""The API and the bridge write the same rows at the same time: nobody waits for ever, nothing counts twice."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from backend.assets.apply import apply_events
from backend.assets.compute_plans import events as plan_events
from backend.assets.compute_plans.states import PlanChanges
from backend.assets.tasks import events as task_events
from backend.fixtures.story import DONE, EXECUTING, WAITING_FOR_EXECUTOR_SLOT, Story
from backend.kit.database import Database
from protos.orchestrator import computetask_pb2, event_pb2

from .conftest import Tell

ROUNDS, TASKS = 12, 40


def _api(
    database: Database,
    together: threading.Barrier,
    rounds: Iterable[list[computetask_pb2.ComputeTask]],
) -> None:
    for tasks in rounds:
        together.wait(timeout=30)
        changes = PlanChanges()
        with database.transaction() as session:
            task_events.register(session, "mychannel", tasks, changes)
            plan_events.settle(session, changes)


def _bridge(
    database: Database, together: threading.Barrier, rounds: Iterable[list[event_pb2.Event]]
) -> None:
    for events in rounds:
        together.wait(timeout=30)
        with database.transaction() as session:
            apply_events(session, "mychannel", events)


@pytest.mark.parametrize("order", ["api first", "bridge first"])
def test_registration_and_events_meet(database: Database, tell: Tell, order: str) -> None:
    story = Story()
    story.function("train")
    story.plan("plan")
    tell(story.events)
    told = len(story.events)
    registered, moved = [], []
    for number in range(ROUNDS):
        names = [f"{number}/{index}" for index in range(TASKS)]
        for name in names:
            story.task(name, "plan", "train", status=WAITING_FOR_EXECUTOR_SLOT)
        tasks = [event.compute_task for event in story.events[told:]]
        registered.append(tasks if order == "api first" else tasks[::-1])
        for name in names:
            story.moves(name, EXECUTING, DONE)
        story.plan_renamed("plan", f"name {number}")
        moved.append(story.events[told:])
        told = len(story.events)
    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        api = pool.submit(_api, database, together, registered)
        bridge = pool.submit(_bridge, database, together, moved)
        for future in (api, bridge):
            future.result(timeout=60)
    with database.reading() as connection:
        plan = connection.execute(text("SELECT * FROM compute_plan")).mappings().one()
    assert (plan["done_count"], plan["waiting_executor_slot_count"]) == (ROUNDS * TASKS, 0)
    assert (plan["executing_count"], plan["status"]) == (0, "PLAN_STATUS_DONE")
    assert plan["name"] == f"name {ROUNDS - 1}"
