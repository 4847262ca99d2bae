"""The ledger's own figures (`python -m bench.ledger [URL]`): registration, release, the life of a chain.

The server is a process of its own on a fresh database of the PostgreSQL at URL, or of the bundled one.
"""

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import psycopg2
from rich.console import Console

from bench.table import Figure, table
from protos.orchestrator import computeplan_pb2 as plan_pb2
from protos.orchestrator import computetask_pb2 as task_pb2
from protos.orchestrator import function_pb2
from protos.orchestrator.common_pb2 import ASSET_MODEL, Addressable, NewPermissions
from protos.orchestrator.computeplan_pb2_grpc import ComputePlanServiceStub
from protos.orchestrator.computetask_pb2_grpc import ComputeTaskServiceStub
from protos.orchestrator.function_pb2_grpc import FunctionServiceStub
from protos.orchestrator.model_pb2 import NewModel, RegisterModelsParam
from protos.orchestrator.model_pb2_grpc import ModelServiceStub
from protos.orchestrator.organization_pb2 import RegisterOrganizationParam
from protos.orchestrator.organization_pb2_grpc import OrganizationServiceStub

HEADERS = (("mspid", "bench"), ("channel", "bench"))
PUBLIC = NewPermissions(public=True)
CLIENTS = 32
ALONE, EACH, CHAIN, RELEASED = 300, 40, 300, 5_000


def _key() -> str:
    return str(uuid.uuid4())


def _address() -> Addressable:
    name = uuid.uuid4().hex
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Addressable(checksum=digest, storage_address=f"http://bench.test/{name}")


class Client:
    """One client with a connection of its own."""

    def __init__(self, address: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.insecure_channel(address, options=options)
        self.close = channel.close
        self.organizations = OrganizationServiceStub(channel)
        self.functions = FunctionServiceStub(channel)
        self.plans = ComputePlanServiceStub(channel)
        self.tasks = ComputeTaskServiceStub(channel)
        self.models = ModelServiceStub(channel)

    def plan(self) -> str:
        key = _key()
        self.plans.RegisterPlan(plan_pb2.NewComputePlan(key=key, name="bench"), metadata=HEADERS)
        return key

    def function(self) -> str:
        new = function_pb2.NewFunction(
            key=_key(),
            name="bench",
            description=_address(),
            archive=_address(),
            new_permissions=PUBLIC,
            inputs={"shared": function_pb2.FunctionInput(kind=ASSET_MODEL, optional=True)},
            outputs={"model": function_pb2.FunctionOutput(kind=ASSET_MODEL)},
        )
        self.functions.RegisterFunction(new, metadata=HEADERS)
        return new.key

    def build(self, function: str, action: "function_pb2.FunctionAction.ValueType") -> None:
        param = function_pb2.ApplyFunctionActionParam(function_key=function, action=action)
        self.functions.ApplyFunctionAction(param, metadata=HEADERS)

    def ready_function(self) -> str:
        function = self.function()
        self.build(function, function_pb2.FUNCTION_ACTION_BUILDING)
        self.build(function, function_pb2.FUNCTION_ACTION_READY)
        return function

    def register(self, *tasks: task_pb2.NewComputeTask) -> None:
        self.tasks.RegisterTasks(task_pb2.RegisterTasksParam(tasks=tasks), metadata=HEADERS)

    def act(self, task: str, action: "task_pb2.ComputeTaskAction.ValueType") -> None:
        param = task_pb2.ApplyTaskActionParam(compute_task_key=task, action=action)
        self.tasks.ApplyTaskAction(param, metadata=HEADERS)

    def model(self, task: str) -> None:
        new = NewModel(
            key=_key(),
            compute_task_key=task,
            compute_task_output_identifier="model",
            address=_address(),
        )
        self.models.RegisterModels(RegisterModelsParam(models=[new]), metadata=HEADERS)


def _task(plan: str, function: str, parent: str = "") -> task_pb2.NewComputeTask:
    task = task_pb2.NewComputeTask(
        key=_key(),
        function_key=function,
        compute_plan_key=plan,
        worker="bench",
        outputs={"model": task_pb2.NewComputeTaskOutput(permissions=PUBLIC)},
    )
    if parent:
        reference = task_pb2.ParentTaskOutputRef(parent_task_key=parent, output_identifier="model")
        task.inputs.add(identifier="shared", parent_task_output=reference)
    return task


# ------------------------------------------------------------------ measurements
def _registrations(client: Client, function: str, number: int) -> list[float]:
    """Seconds of each of `number` calls, a plan for the client."""
    plan = client.plan()
    times = []
    for _ in range(number):
        task = _task(plan, function)
        start = time.perf_counter()
        client.register(task)
        times.append(time.perf_counter() - start)
    return times


def registration(address: str, clients: int, number: int) -> tuple[float, list[float]]:
    """Tasks registered a second, one a call, and the time of each call. A lost call raises."""
    with ExitStack() as stack:
        crowd = [Client(address) for _ in range(clients)]
        for client in crowd:
            stack.callback(client.close)
        function = crowd[0].ready_function()
        start = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            found = pool.map(lambda client: _registrations(client, function, number), crowd)
            times = [one for each in found for one in each]
        return len(times) / (time.perf_counter() - start), times


def life(client: Client) -> float:
    """Tasks a second of a chain: registered in one call, then EXECUTING, model, DONE for each."""
    plan, function = client.plan(), client.ready_function()
    tasks: list[task_pb2.NewComputeTask] = []
    for _ in range(CHAIN):
        tasks.append(_task(plan, function, tasks[-1].key if tasks else ""))
    start = time.perf_counter()
    client.register(*tasks)
    for task in tasks:
        client.act(task.key, task_pb2.TASK_ACTION_EXECUTING)
        client.model(task.key)
        client.act(task.key, task_pb2.TASK_ACTION_DONE)
    return CHAIN / (time.perf_counter() - start)


def release(client: Client) -> float:
    """Seconds of the one call that makes RELEASED waiting tasks ready."""
    plan, function = client.plan(), client.function()
    for _ in range(RELEASED // 500):
        client.register(*(_task(plan, function) for _ in range(500)))
    client.build(function, function_pb2.FUNCTION_ACTION_BUILDING)
    start = time.perf_counter()
    client.build(function, function_pb2.FUNCTION_ACTION_READY)
    return time.perf_counter() - start


# ------------------------------------------------------------------ the server
@contextmanager
def _database(server: str) -> Iterator[str]:
    """A fresh database on the PostgreSQL at `server`, dropped afterwards."""
    name = f"bench_ledger_{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(f"{server}/postgres")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
            try:
                yield f"{server}/{name}"
            finally:
                cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        connection.close()


@contextmanager
def _ledger(database_url: str) -> Iterator[str]:
    """Address of a ledger process."""
    with tempfile.TemporaryDirectory() as folder:
        channels = Path(folder) / "channels.yaml"
        channels.write_text("channels: {bench: [bench]}\n", encoding="utf-8")
        command = [sys.executable, "-m", "orchestrator", "--listen", "127.0.0.1:0"]
        command += ["--channels", str(channels), "--database", database_url]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            for line in process.stderr:
                said = json.loads(line) if line.startswith("{") else {}
                if said.get("event") == "ledger_serves":
                    yield str(said["address"])
                    return
            raise RuntimeError("the ledger did not start")
        finally:
            process.terminate()
            process.wait()
            process.stderr.close()


def run(database_url: str) -> dict[str, float]:
    """The figures, measured on the PostgreSQL server at `database_url` (without a database name)."""
    with _database(database_url.rstrip("/")) as database, _ledger(database) as address:
        client = Client(address)
        client.organizations.RegisterOrganization(RegisterOrganizationParam(), metadata=HEADERS)
        alone, alone_times = registration(address, 1, ALONE)
        crowd, crowd_times = registration(address, CLIENTS, EACH)
        figures = {
            "registered_1_client_per_s": alone,
            "registered_1_client_p50_ms": statistics.median(alone_times) * 1e3,
            "registered_32_clients_per_s": crowd,
            "registered_32_clients_p99_ms": statistics.quantiles(crowd_times, n=100)[98] * 1e3,
            "chain_life_tasks_per_s": life(client),
            "release_5000_s": release(client),
        }
        client.close()
    return figures


def figures(measured: dict[str, float]) -> list[Figure]:
    """The measurements with their goals."""
    goals = [
        ("ledger: registered, 1 client", "tasks/s", "registered_1_client_per_s", 300, True),
        ("ledger: registered, 32 clients", "tasks/s", "registered_32_clients_per_s", 600, True),
        ("ledger: p99 of these calls", "ms", "registered_32_clients_p99_ms", 200, False),
        ("ledger: whole life of a chain", "tasks/s", "chain_life_tasks_per_s", 200, True),
        ("ledger: releasing 5,000 tasks", "s", "release_5000_s", 0.5, False),
    ]
    return [
        Figure(name, unit, measured[key], goal=goal, at_least=at_least)
        for name, unit, key, goal, at_least in goals
    ]


def main() -> int:
    with ExitStack() as stack:
        if len(sys.argv) > 1:
            server = sys.argv[1]
        else:
            from network.postgres import temporary_server

            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            server = stack.enter_context(temporary_server(folder))
        Console(highlight=False).print(table(figures(run(server))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
