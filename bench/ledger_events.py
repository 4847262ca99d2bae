"""How soon events arrive, how fast they are replayed, and what reads cost."""

import statistics
import threading
import time
from collections.abc import Callable
from itertools import islice

from bench.ledger_client import HEADERS, Client, batches, task
from protos.orchestrator import computetask_pb2 as task_pb2
from protos.orchestrator import event_pb2

TOLD, READS, PAGE, REPLAYED = 500, 200, 500, 20_000
PATIENCE_S = 30.0


def latency(client: Client, subscriber: Client) -> list[float]:
    """Seconds from the answer of each call until a subscriber holds its event; 0 when the event was first."""
    arrived: dict[str, float] = {}
    enough = threading.Event()
    stream = subscriber.follow(_last_event(client))

    def listen() -> None:
        for event in islice(stream, TOLD):
            arrived[event.asset_key] = time.perf_counter()
        enough.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    answered = {}
    for _ in range(TOLD):
        plan = client.plan()
        answered[plan] = time.perf_counter()
    if not enough.wait(PATIENCE_S):
        raise RuntimeError(f"{len(arrived)} of {TOLD} events came")
    stream.cancel()  # type: ignore[no-untyped-call]
    return [max(0.0, arrived[plan] - moment) for plan, moment in answered.items()]


def _last_event(client: Client) -> str:
    param = event_pb2.QueryEventsParam(page_size=1, sort=2)  # type: ignore[arg-type]  # descending
    return client.events.QueryEvents(param, metadata=HEADERS).events[0].id


def replay(subscriber: Client) -> float:
    """Events a second from the channel's beginning."""
    stream = subscriber.follow()
    start = time.perf_counter()
    number = sum(1 for _ in islice(stream, REPLAYED))
    taken = time.perf_counter() - start
    stream.cancel()  # type: ignore[no-untyped-call]
    return number / taken


def _median_ms(call: Callable[[], object], number: int) -> float:
    times = []
    for _ in range(number):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def measure(client: Client, subscriber: Client) -> dict[str, float]:
    times = latency(client, subscriber)
    plan, function = client.plan(), client.ready_function()
    tasks = [task(plan, function) for _ in range(2 * PAGE)]
    for batch in batches(tasks):
        client.register(*batch)
    one = task_pb2.GetTaskParam(key=tasks[0].key)
    filters = task_pb2.TaskQueryFilter(compute_plan_key=plan)
    page = task_pb2.QueryTasksParam(page_size=PAGE, filter=filters)
    return {
        "event_p50_ms": statistics.median(times) * 1e3,
        "event_p99_ms": statistics.quantiles(times, n=100)[98] * 1e3,
        "replay_events_per_s": replay(subscriber),
        "page_500_p50_ms": _median_ms(
            lambda: client.tasks.QueryTasks(page, metadata=HEADERS), READS // 4
        ),
        "task_p50_ms": _median_ms(lambda: client.tasks.GetTask(one, metadata=HEADERS), READS),
    }
