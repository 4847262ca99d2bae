"""The ledger's own figures (`python -m bench.ledger [URL]`), on a PostgreSQL that waits for the disk.

The server is a process of its own on a fresh database of the PostgreSQL at URL, or of the bundled one. A call
that is lost ends the run: no figure counts with losses.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from bench import ledger_events
from bench.ledger_client import DATA, HEADERS, Client, New, batches, chain, federated, task
from bench.ledger_server import Running, database, ledger
from bench.table import Figure, table
from protos.orchestrator import computetask_pb2 as task_pb2
from protos.orchestrator import function_pb2
from protos.orchestrator.organization_pb2 import RegisterOrganizationParam

CLIENTS, SIDE_BY_SIDE = 32, 8
ALONE, EACH, LIVES, RELEASED, LARGE = 300, 40, 1_000, 5_000, 10_000
SAMPLES = 10  # of a task


# ------------------------------------------------------------------ registration, one task a call
def _registrations(client: Client, function: str, number: int) -> list[float]:
    """Seconds of each of `number` calls, a plan for the client."""
    plan = client.plan()
    times = []
    for _ in range(number):
        new = task(plan, function)
        start = time.perf_counter()
        client.register(new)
        times.append(time.perf_counter() - start)
    return times


def registration(address: str, clients: int, number: int) -> tuple[float, list[float]]:
    """Tasks registered a second, one a call, and the time of each call."""
    with ExitStack() as stack:
        crowd = [_client(stack, address) for _ in range(clients)]
        function = crowd[0].ready_function()
        start = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            found = pool.map(lambda client: _registrations(client, function, number), crowd)
            times = [one for each in found for one in each]
        return len(times) / (time.perf_counter() - start), times


def _client(stack: ExitStack, address: str) -> Client:
    client = Client(address)
    stack.callback(client.close)
    return client


# ------------------------------------------------------------------ large plans
def large(client: Client, tasks: Sequence[New]) -> tuple[float, float]:
    """Seconds to register a plan, 500 tasks a call; and how its last quarter compares with its first."""
    times = []
    for batch in batches(tasks):
        start = time.perf_counter()
        client.register(*batch)
        times.append(time.perf_counter() - start)
    quarter = len(times) // 4
    return sum(times), sum(times[-quarter:]) / sum(times[:quarter])


def large_plans(client: Client) -> dict[str, float]:
    aggregate = client.ready_function()
    train = client.ready_function(DATA)
    shapes = {
        "chain": chain(client.plan(), aggregate, LARGE),
        "federated": federated(client.plan(), (aggregate, aggregate), LARGE),
        "samples": federated(client.plan(), (train, aggregate), LARGE, client.data_inputs(SAMPLES)),
    }
    found = {}
    for name, tasks in shapes.items():
        found[f"plan_{name}_s"], found[f"plan_{name}_growth"] = large(client, tasks)
    return found


# ------------------------------------------------------------------ lives
def life(client: Client, number: int) -> None:
    """A chain: registered, then EXECUTING, model, DONE for each task."""
    tasks = chain(client.plan(), client.ready_function(), number)
    for batch in batches(tasks):
        client.register(*batch)
    for new in tasks:
        client.act(new.key, task_pb2.TASK_ACTION_EXECUTING)
        client.model(new.key)
        client.act(new.key, task_pb2.TASK_ACTION_DONE)


def lives(address: str, clients: int, number: int) -> float:
    """Tasks a second over all clients, a chain each."""
    with ExitStack() as stack:
        crowd = [_client(stack, address) for _ in range(clients)]
        start = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda client: life(client, number), crowd))
        return clients * number / (time.perf_counter() - start)


# ------------------------------------------------------------------ cascades
def release(client: Client, other: Client) -> tuple[float, float]:
    """Seconds of a call that makes RELEASED waiting tasks ready, and the longest that another client's took.

    Twice: a function is READY, then a parent DONE; the slower counts.
    """
    plan, building, ready = client.plan(), client.function(), client.ready_function()
    parent = task(plan, ready)
    client.register(parent)
    for batch in batches([task(plan, building) for _ in range(RELEASED)]):
        client.register(*batch)
    for batch in batches([task(plan, ready, parent.key) for _ in range(RELEASED)]):
        client.register(*batch)
    client.build(building, function_pb2.FUNCTION_ACTION_BUILDING)
    client.act(parent.key, task_pb2.TASK_ACTION_EXECUTING)
    calls = [
        lambda: client.build(building, function_pb2.FUNCTION_ACTION_READY),
        lambda: client.act(parent.key, task_pb2.TASK_ACTION_DONE),
    ]
    taken, waited = [], []
    with ThreadPoolExecutor(1) as pool:
        for call in calls:
            start = time.perf_counter()
            running = pool.submit(call)
            while not running.done():
                begun = time.perf_counter()
                other.plan()
                waited.append(time.perf_counter() - begun)
            running.result()
            taken.append(time.perf_counter() - start)
    return max(taken), max(waited)


# ------------------------------------------------------------------ all of it
def run(database_url: str) -> dict[str, float]:
    """The figures, measured on the PostgreSQL server at `database_url` (without a database name)."""
    with database(database_url.rstrip("/")) as url, ledger(url) as server, ExitStack() as stack:
        client = _client(stack, server.address)
        client.organizations.RegisterOrganization(RegisterOrganizationParam(), metadata=HEADERS)
        return _run(client, _client(stack, server.address), server)


def _run(client: Client, other: Client, server: Running) -> dict[str, float]:
    at_rest = server.memory_mb()
    alone, alone_times = registration(server.address, 1, ALONE)
    crowd, crowd_times = registration(server.address, CLIENTS, EACH)
    found = {
        "registered_1_client_per_s": alone,
        "registered_1_client_p50_ms": statistics.median(alone_times) * 1e3,
        "registered_32_clients_per_s": crowd,
        "registered_32_clients_p99_ms": statistics.quantiles(crowd_times, n=100)[98] * 1e3,
        **large_plans(client),
        "memory_at_rest_mb": at_rest,
        "memory_after_10000_mb": server.memory_mb(),
        "chain_life_tasks_per_s": lives(server.address, 1, LIVES),
        "lives_8_clients_tasks_per_s": lives(server.address, SIDE_BY_SIDE, LIVES // SIDE_BY_SIDE),
    }
    found["release_5000_s"], found["release_others_wait_s"] = release(client, other)
    return found | ledger_events.measure(client, other)


GOALS = [
    ("registered, 1 client", "tasks/s", "registered_1_client_per_s", 300, True),
    ("p50 of these calls", "ms", "registered_1_client_p50_ms", 4, False),
    ("registered, 32 clients", "tasks/s", "registered_32_clients_per_s", 600, True),
    ("p99 of these calls", "ms", "registered_32_clients_p99_ms", 200, False),
    ("chain of 10,000, 500 a call", "s", "plan_chain_s", 4, False),
    ("… its last quarter to its first", "×", "plan_chain_growth", 1.5, False),
    ("federated plan of 10,000", "s", "plan_federated_s", 5, False),
    ("… its last quarter to its first", "×", "plan_federated_growth", 1.5, False),
    ("the same with ten samples a task", "s", "plan_samples_s", 6, False),
    ("whole life of a chain of 1,000", "tasks/s", "chain_life_tasks_per_s", 200, True),
    ("the same, 8 clients side by side", "tasks/s", "lives_8_clients_tasks_per_s", 250, True),
    ("releasing 5,000 tasks", "s", "release_5000_s", 0.5, False),
    ("another client's wait meanwhile", "s", "release_others_wait_s", 0.5, False),
    ("event after the answer, p50", "ms", "event_p50_ms", 1.5, False),
    ("event after the answer, p99", "ms", "event_p99_ms", 10, False),
    ("replay", "events/s", "replay_events_per_s", 10_000, True),
    ("page of 500 tasks, p50", "ms", "page_500_p50_ms", 20, False),
    ("one task, p50", "ms", "task_p50_ms", 1.5, False),
    ("memory at rest (PSS)", "MB", "memory_at_rest_mb", 120, False),
    ("memory after plans of 10,000", "MB", "memory_after_10000_mb", 120, False),
]


def figures(measured: dict[str, float]) -> list[Figure]:
    """The measurements with their goals."""
    return [
        Figure(f"ledger: {name}", unit, measured[key], goal=goal, at_least=at_least)
        for name, unit, key, goal, at_least in GOALS
    ]


def main() -> int:
    with ExitStack() as stack:
        if len(sys.argv) > 1:
            server = sys.argv[1]
        else:
            from network.postgres import temporary_server

            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            server = stack.enter_context(temporary_server(folder, durable=True))
        Console(highlight=False).print(table(figures(run(server))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
