"""What a task needs is brought here: side by side, in use meanwhile, and for as long as it is wanted."""

import math
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from backend.engine.compute.cache import AssetCache
from backend.engine.compute.results import model_key
from backend.engine.compute.store import InputAsset
from tests.integration.backend.engine.world import IMAGE, OTHER, World, eventually

MODEL = "ASSET_MODEL"


class MeetingCache:
    """Stands before a cache: no model is brought before so many are asked for at once."""

    def __init__(self, cache: AssetCache, together: int) -> None:
        self._bring, self._models = cache.bring, cache.models
        self._together = threading.Barrier(together, timeout=15)

    def bring(self, asset: InputAsset, *given: Any) -> Path:
        self._together.wait()
        (self._models / str(asset.key)).write_bytes(b"weights")
        return self._bring(asset, *given)


class SlowCache:
    """Stands before a cache: one model comes when it may."""

    def __init__(self, cache: AssetCache, late: UUID) -> None:
        self._bring, self._models, self._late = cache.bring, cache.models, late
        self.waits, self.goes_on = threading.Event(), threading.Event()

    def bring(self, asset: InputAsset, *given: Any) -> Path:
        if asset.key == self._late:
            self.waits.set()
            assert self.goes_on.wait(20)
        (self._models / str(asset.key)).write_bytes(b"weights")
        return self._bring(asset, *given)


def test_inputs_of_one_task_are_fetched_side_by_side(world: World) -> None:
    function = world.function(inputs={"shared": MODEL})
    plan, session = world.plan(), world.session()
    parents = [world.task(plan, function, worker=OTHER) for _ in range(2)]
    task = world.task(plan, function, shared=parents)
    meeting = MeetingCache(world.cache, 2)
    world.cache.bring = meeting.bring  # type: ignore[method-assign, assignment]
    for parent in parents:
        world.finish_elsewhere(parent, model_key(parent, "model", 0))
    lease = world.lease(session)
    assert lease["task"] == str(task)
    assert len(lease["inputs"]) == 2


def test_bringing_inputs_counts_among_a_tasks_preparation_and_holds_on_to_what_came(
    world: World,
) -> None:
    """The profile's `prepare_inputs` begins with the transfer; what came first is in use meanwhile."""
    function = world.function(inputs={"shared": MODEL})
    plan, session = world.plan(), world.session()
    parents = [world.task(plan, function, worker=OTHER) for _ in range(2)]
    world.task(plan, function, shared=parents)
    first, second = (model_key(parent, "model", 0) for parent in parents)
    slow = SlowCache(world.cache, second)
    world.cache.bring = slow.bring  # type: ignore[method-assign, assignment]
    for parent, model in zip(parents, (first, second), strict=True):
        world.finish_elsewhere(parent, model)
    assert slow.waits.wait(20)
    eventually((world.cache.models / str(first)).is_file, "the first one is here")
    now = time.monotonic()
    world.preparation.touch()
    assert world.cache._used.since(world.cache.models / str(first), now)
    slow.goes_on.set()
    lease = world.lease(session)
    assert "brought_us" not in lease
    steps = {"prepare_inputs": 7.0, "task_execution": 8.0, "save_outputs": math.nan}
    world.give(session, world.result(lease).model_copy(update={"steps": steps}))
    rows = world.one("SELECT json_object_agg(step, duration) FROM profiling_step")[0]
    assert rows.pop("task_execution") == 8
    assert rows.pop("prepare_inputs") > 7
    assert rows == {}
    world.preparation.touch()  # nothing is in hand any more


def test_a_transfer_for_a_canceled_plan_stops(world: World) -> None:
    world.images.slow.add(IMAGE)
    plan = world.plan()
    task = world.task(plan, world.function())
    assert world.images.begun.wait(15)
    began = time.monotonic()
    world.mine.cancel_plan(plan)
    eventually(lambda: world.work_state(task) == "done", "given up")
    assert time.monotonic() - began < 2
    eventually(lambda: world.status(task) == "STATUS_CANCELED", "canceled")
    assert world.preparation._flying == 0
