"""The event stream and event pages (orchestrator.md 9)."""

import threading
from itertools import islice

import grpc
import pytest

from orchestrator.server import Server
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import event_pb2 as e
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.common_pb2 import ASSET_COMPUTE_PLAN, ASSET_COMPUTE_TASK, DESCENDING
from protos.orchestrator.profiling_pb2 import ProfilingStep
from tests.integration.orchestrator.member import Member, lines
from tests.unit.orchestrator import requests as r


def test_stream_replays_then_pushes_without_gap_or_repetition(a: Member) -> None:
    plans = [a.plan() for _ in range(5)]
    stream = a.subscribe()
    replayed = [event.asset_key for event in islice(stream, 7)]
    assert replayed == ["b", "a", *plans]
    for _ in range(5):
        plan = a.plan()
        assert next(stream).asset_key == plan
    stream.cancel()


def test_stream_resumes_strictly_after_an_event(a: Member) -> None:
    plans = [a.plan() for _ in range(4)]
    everything = a.events(6)
    for number, event in enumerate(everything[:-1], start=1):
        resumed = a.events(len(everything) - number, event.id)
        assert resumed == everything[number:]
    assert [event.asset_key for event in everything[2:]] == plans


@pytest.mark.parametrize("start", ["no-uuid", "00000000-0000-0000-0000-000000000000"])
def test_unknown_start_ends_the_stream_with_an_error(a: Member, start: str) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        next(a.subscribe(start))
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    assert "no rows" in (refusal.value.details() or "")


def test_event_of_another_channel_is_an_unknown_start(a: Member, server: Server) -> None:
    with Member(server.address, "a", "yourchannel") as other:
        foreign = other.join().events(1)[0]
    with pytest.raises(grpc.RpcError):
        next(a.subscribe(foreign.id))
    assert foreign.channel == "yourchannel"


def test_every_subscriber_gets_the_whole_sequence(a: Member, b: Member) -> None:
    streams = [member.subscribe() for member in (a, a, b)]
    plans = [a.plan() for _ in range(20)]
    for stream in streams:
        assert [event.asset_key for event in islice(stream, 22)][2:] == plans
        stream.cancel()


def test_subscriber_that_reads_nothing_does_not_hold_up_others(a: Member, b: Member) -> None:
    lazy = b.subscribe()
    plan, function = a.plan(), a.function()
    stream = a.subscribe()
    for _ in range(12):
        a.register(*(r.new_task(plan, function, worker="a") for _ in range(500)))
    seen = [event.id for event in islice(stream, 6006)]
    stream.cancel()
    assert len(set(seen)) == 6006
    assert [event.id for event in islice(lazy, 6006)] == seen
    lazy.cancel()


def test_snapshots_keep_the_state_of_their_moment(a: Member) -> None:
    plan, function = a.plan(), a.function()
    task = r.new_task(plan, function, worker="a")
    a.register(task)
    a.act(task.key, t.TASK_ACTION_EXECUTING, t.TASK_ACTION_DONE)
    told = [event for event in a.events(9) if event.HasField("compute_task")]
    assert lines(told) == [
        "compute_task CREATED WAITING_FOR_EXECUTOR_SLOT",
        "compute_task UPDATED EXECUTING",
        "compute_task UPDATED DONE",
    ]
    assert dict(told[0].metadata) == {}
    assert dict(told[1].metadata) == {"reason": "User action"}
    assert all(event.compute_task.outputs["model"].permissions.process.public for event in told)
    current = a.task(task.key)
    last = told[-1].compute_task
    assert last == current


def test_events_of_a_cascade_go_without_inputs_and_outputs(a: Member) -> None:
    plan, function = a.plan(), a.function(build=False)
    first = r.new_task(plan, function, worker="a")
    a.register(first, r.new_task(plan, function, r.parent(first.key), worker="a"))
    before = a.events(6)[-1].id
    live = a.subscribe(before)
    a.build(function, f.FUNCTION_ACTION_BUILDING)
    pushed = list(islice(live, 3))
    live.cancel()
    assert pushed == a.events(3, before)
    for event in pushed[1:]:
        assert list(event.compute_task.inputs) == []
        assert dict(event.compute_task.outputs) == {}
        assert event.compute_task.function_key == function


def test_profiling_step_is_an_event_and_nothing_else(a: Member) -> None:
    step = ProfilingStep(asset_key=r.key(), step="build_image", duration=12)
    a.call("ProfilingService/RegisterProfilingStep", step)
    a.call("ProfilingService/RegisterProfilingStep", step)
    told = a.events(4)[2:]
    assert [event.profiling_step for event in told] == [step, step]
    step.duration = 0
    with pytest.raises(grpc.RpcError, match="duration: cannot be blank"):
        a.call("ProfilingService/RegisterProfilingStep", step)


def test_stream_ends_when_the_client_goes_and_the_ledger_goes_on(a: Member) -> None:
    streams = [a.subscribe() for _ in range(40)]
    for stream in streams:
        assert next(stream).asset_key == "b"
    assert a.plan()  # 40 open streams hold no thread of the server
    for stream in streams:
        stream.cancel()
    assert a.plan()


def _query(a: Member, **fields: object) -> e.QueryEventsResponse:
    answer: e.QueryEventsResponse = a.call(
        "EventService/QueryEvents",
        e.QueryEventsParam(**fields),  # type: ignore[arg-type]
    )
    return answer


def test_pages_of_events_cover_all_in_both_directions(a: Member) -> None:
    plans = [a.plan() for _ in range(7)]
    everything = [event.id for event in a.events(9)]
    for sort, expected in ((0, everything), (DESCENDING, everything[::-1])):
        found: list[str] = []
        token = ""
        while True:
            page = _query(a, page_size=2, page_token=token, sort=sort)
            found += [event.id for event in page.events]
            token = page.next_page_token
            if not token:
                break
        assert found == expected
    assert len(plans) == 7


def test_events_are_filtered_by_everything_that_is_given(a: Member) -> None:
    plan, function = a.plan(), a.function()
    task = r.new_task(plan, function, worker="a")
    a.register(task)
    a.act(task.key, t.TASK_ACTION_EXECUTING)
    filters = [
        (e.EventQueryFilter(asset_key=plan), 1),
        (e.EventQueryFilter(asset_kind=ASSET_COMPUTE_PLAN), 1),
        (e.EventQueryFilter(asset_kind=ASSET_COMPUTE_TASK, event_kind=e.EVENT_ASSET_UPDATED), 1),
        (e.EventQueryFilter(metadata={"reason": "User action"}), 3),
        (e.EventQueryFilter(metadata={"reason": "User action", "x": "y"}), 0),
        (e.EventQueryFilter(asset_key="x\x00"), 0),
    ]
    assert [len(_query(a, filter=given).events) for given, _ in filters] == [n for _, n in filters]
    events = a.events(8)
    moment = events[3].timestamp
    within = _query(a, filter=e.EventQueryFilter(start=moment, end=moment)).events
    assert events[3].id in [event.id for event in within]
    assert len(within) < 8


def _register_plans(member: Member, count: int) -> None:
    for _ in range(count):
        member.plan()


def test_positions_follow_the_commits_of_many_writers(a: Member, b: Member) -> None:
    stream = a.subscribe()
    threads = [threading.Thread(target=_register_plans, args=(member, 20)) for member in (a, b) * 4]
    for thread in threads:
        thread.start()
    pushed = list(islice(stream, 162))
    for thread in threads:
        thread.join()
    stream.cancel()
    assert [event.id for event in pushed] == [event.id for event in a.events(162)]
    stamps = [event.timestamp.ToNanoseconds() for event in pushed]
    assert stamps == sorted(stamps)
