"""What shares a transaction: events linger for company, unless one makes work here."""

import queue
import threading
import time

import pytest

from backend.engine.bridge.loop import Here, Linger, _take, urgent
from protos.orchestrator import (
    computeplan_pb2,
    computetask_pb2,
    event_pb2,
    function_pb2,
    model_pb2,
)

ME, OTHER = "MyOrg1MSP", "MyOrg2MSP"
HERE = Here(ME)
CREATED, UPDATED = event_pb2.EVENT_ASSET_CREATED, event_pb2.EVENT_ASSET_UPDATED


def task(status: "computetask_pb2.ComputeTaskStatus.ValueType", worker: str) -> event_pb2.Event:
    return event_pb2.Event(
        event_kind=UPDATED, compute_task=computetask_pb2.ComputeTask(status=status, worker=worker)
    )


def function(kind: "event_pb2.EventKind.ValueType", owner: str) -> event_pb2.Event:
    return event_pb2.Event(event_kind=kind, function=function_pb2.Function(owner=owner))


def plan(kind: "event_pb2.EventKind.ValueType") -> event_pb2.Event:
    return event_pb2.Event(event_kind=kind, compute_plan=computeplan_pb2.ComputePlan())


MODEL = event_pb2.Event(event_kind=CREATED, model=model_pb2.Model())
READY = computetask_pb2.STATUS_WAITING_FOR_EXECUTOR_SLOT


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (task(READY, ME), True),
        (task(READY, OTHER), False),
        (task(computetask_pb2.STATUS_EXECUTING, ME), False),
        (task(computetask_pb2.STATUS_DONE, ME), False),
        (function(CREATED, ME), True),
        (function(CREATED, OTHER), False),
        (function(UPDATED, ME), False),
        (plan(UPDATED), True),
        (plan(CREATED), False),
        (MODEL, False),
    ],
)
def test_only_what_makes_or_ends_work_here_is_urgent(
    event: event_pb2.Event, expected: bool
) -> None:
    assert urgent(event, HERE) is expected


def test_a_task_that_was_prepared_for_is_in_no_hurry() -> None:
    event = task(READY, ME)
    event.compute_task.key = "a"
    assert not urgent(event, Here(ME, lambda key: key == "a"))
    assert urgent(event, Here(ME, lambda key: key == "b"))


def test_an_urgent_event_does_not_wait_and_takes_along_what_is_there() -> None:
    arrived: queue.Queue[event_pb2.Event | Exception | None] = queue.Queue()
    for event in (MODEL, task(READY, ME), MODEL):
        arrived.put(event)
    started = time.monotonic()
    batch, end = _take(arrived, 30.0, HERE, 30.0)
    assert (len(batch), end) == (3, None)
    assert time.monotonic() - started < 10


def test_other_events_wait_for_company() -> None:
    arrived: queue.Queue[event_pb2.Event | Exception | None] = queue.Queue()
    arrived.put(MODEL)
    later = threading.Timer(0.05, arrived.put, (task(READY, ME),))
    later.start()
    batch, end = _take(arrived, 30.0, HERE, 30.0)
    later.join()
    assert (len(batch), end) == (2, None)


def in_plan(status: "computetask_pb2.ComputeTaskStatus.ValueType", key: str) -> event_pb2.Event:
    event = task(status, OTHER)
    event.compute_task.compute_plan_key = key
    return event


def test_the_end_of_a_plan_is_soon_seen_at_every_organization() -> None:
    now = time.monotonic()
    linger = Linger(now + 30)
    assert linger.until(in_plan(computetask_pb2.STATUS_EXECUTING, "a"), HERE) == now + 30
    assert linger.until(in_plan(computetask_pb2.STATUS_DONE, "a"), HERE) < now + 10
    assert linger.until(in_plan(READY, "a"), HERE) == now + 30, "its plan goes on"
    assert linger.until(in_plan(computetask_pb2.STATUS_FAILED, "b"), HERE) < now + 10
    assert linger.until(in_plan(READY, "a"), HERE) < now + 10
    assert linger.until(task(READY, ME), HERE) == 0.0


def test_the_end_of_the_stream_comes_with_what_was_before_it() -> None:
    arrived: queue.Queue[event_pb2.Event | Exception | None] = queue.Queue()
    error = RuntimeError("cut")
    arrived.put(MODEL)
    arrived.put(error)
    batch, end = _take(arrived, 30.0, HERE, 30.0)
    assert (batch, end) == ([MODEL], error)
