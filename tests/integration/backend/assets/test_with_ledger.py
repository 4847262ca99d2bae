"""Plans and tasks with the real ledger: its answers and its stream give the same rows."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import psycopg2
import pytest
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from substra.sdk import models as sdk

from backend.app import create_app
from backend.assets.apply import apply_events
from backend.fixtures.story import ORG_1, ORG_2, address
from backend.kit.database import Database
from backend.node import Node
from backend.settings import Settings
from orchestrator.server import Server
from protos.orchestrator import common_pb2, computetask_pb2, event_pb2, function_pb2, model_pb2
from tests.integration.backend.conftest import log_in, serving

from .conftest import contents

P = "/org-1"


@pytest.fixture
def ledger(postgres: str) -> Iterator[Server]:
    """A ledger on a database of its own."""
    name = f"ledger_{uuid4().hex[:12]}"
    _administrate(postgres, f'CREATE DATABASE "{name}"')
    server = Server(f"{postgres}/{name}", {"mychannel": [ORG_1, ORG_2], "yourchannel": [ORG_1]})
    server.start()
    yield server
    server.stop()
    _administrate(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')


def _administrate(server: str, statement: str) -> None:
    connection = psycopg2.connect(server + "/postgres")
    connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


@pytest.fixture
def node(settings: Settings, ledger: Server, database: Database) -> Iterator[Node]:
    host, _, port = ledger.address.rpartition(":")
    changes = {"ISOLATED": False, "ORCHESTRATOR_HOST": host, "ORCHESTRATOR_PORT": int(port)}
    built = Node.build(settings.model_copy(update=changes))
    built.ledger.on("mychannel").register_organization("http://127.0.0.1:9/org-1")
    yield built
    built.close()


@pytest.fixture
def user(node: Node) -> Iterator[httpx.Client]:
    with serving(create_app(node.settings, node)) as client:
        client.headers["Authorization"] = f"Token {log_in(client)['token']}"
        yield client


def follow(node: Node, until: int) -> list[event_pb2.Event]:
    """The first `until` events of the channel, applied one by one as a bridge would."""
    stream = node.ledger.on("mychannel").subscribe("")
    deadline = threading.Timer(30, stream.cancel)
    deadline.start()
    events: list[event_pb2.Event] = []
    for event in stream:
        events.append(event)
        with node.database.transaction() as session:
            apply_events(session, "mychannel", [event])
        if len(events) == until:
            break
    deadline.cancel()
    stream.cancel()
    assert len(events) == until, "the stream ended early"
    return events


def function_of(node: Node) -> str:
    """A function that is READY, with one model in and out."""
    ledger, key = node.ledger.on("mychannel"), str(uuid4())
    ledger.register_function(
        function_pb2.NewFunction(
            key=key,
            name="train",
            description=address(f"function/{key}/description/"),
            archive=address(f"function/{key}/file/"),
            new_permissions=common_pb2.NewPermissions(public=True),
            inputs={
                "shared": function_pb2.FunctionInput(
                    kind=common_pb2.ASSET_MODEL, multiple=True, optional=True
                )
            },
            outputs={"model": function_pb2.FunctionOutput(kind=common_pb2.ASSET_MODEL)},
        )
    )
    ledger.apply_function_action(key, function_pb2.FUNCTION_ACTION_BUILDING)
    ledger.update_function(
        function_pb2.UpdateFunctionParam(
            key=key, name="train", image=address(f"function/{key}/image/")
        )
    )
    ledger.apply_function_action(key, function_pb2.FUNCTION_ACTION_READY)
    return key


def chain(plan: str, function: str, length: int) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = []
    for _ in range(length):
        inputs = [
            {
                "identifier": "shared",
                "asset_key": None,
                "parent_task_key": parent["key"],
                "parent_task_output_identifier": "model",
            }
            for parent in tasks[-1:]
        ]
        tasks.append(
            {
                "key": str(uuid4()),
                "compute_plan_key": plan,
                "function_key": function,
                "worker": ORG_1,
                "inputs": inputs,
                "outputs": {
                    "model": {"permissions": {"public": False, "authorized_ids": []}},
                },
            }
        )
    return tasks


def test_answers_and_stream_give_the_same_rows(
    user: httpx.Client, node: Node, database: Database
) -> None:
    function, plan = function_of(node), str(uuid4())
    events = follow(node, 5)  # the organization, and the function's four
    assert user.post(f"{P}/compute_plan/", json={"key": plan, "name": "p"}).status_code == 201
    tasks = chain(plan, function, 3)
    answer = user.post(f"{P}/task/bulk_create/", json={"tasks": tasks[::-1]})
    assert answer.status_code == 200, answer.text
    created = [sdk.Task(**entry) for entry in answer.json()]
    assert [task.key for task in created] == [task["key"] for task in tasks], "topological"
    assert [task.status.value for task in created] == [
        "STATUS_WAITING_FOR_EXECUTOR_SLOT",
        "STATUS_WAITING_FOR_PARENT_TASKS",
        "STATUS_WAITING_FOR_PARENT_TASKS",
    ]
    before = contents(database)
    follow(node, len(events) + 4)  # the plan and its tasks
    assert contents(database) == before


def test_task_that_is_done_feeds_its_child(user: httpx.Client, node: Node) -> None:
    function, plan = function_of(node), str(uuid4())
    follow(node, 5)
    user.post(f"{P}/compute_plan/", json={"key": plan, "name": "p"})
    first, second = chain(plan, function, 2)
    user.post(f"{P}/task/bulk_create/", json={"tasks": [first, second]})
    ledger, model = node.ledger.on("mychannel"), str(uuid4())
    ledger.apply_task_action(first["key"], computetask_pb2.TASK_ACTION_EXECUTING)
    new = model_pb2.NewModel(
        key=model,
        compute_task_key=first["key"],
        compute_task_output_identifier="model",
        address=address(f"model/{model}/file/"),
    )
    ledger.register_models([new])
    ledger.apply_task_action(first["key"], computetask_pb2.TASK_ACTION_DONE)
    follow(node, 13)
    plan_now = sdk.ComputePlan(**user.get(f"{P}/compute_plan/{plan}/").json())
    assert (plan_now.done_count, plan_now.waiting_executor_slot_count) == (1, 1)
    assert plan_now.status == sdk.ComputePlanStatus.doing
    inputs = user.get(f"{P}/task/{second['key']}/input_assets/").json()["results"]
    assert [entry["asset"]["key"] for entry in inputs] == [model]
    assert user.post(f"{P}/compute_plan/{plan}/cancel/").status_code == 200
    follow(node, 14)
    canceled = sdk.ComputePlan(**user.get(f"{P}/compute_plan/{plan}/").json())
    assert canceled.status == sdk.ComputePlanStatus.canceled
    assert canceled.end_date is not None
    again = user.post(f"{P}/compute_plan/{plan}/cancel/")
    assert again.status_code == 400, again.text


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"inputs": [{"identifier": "unknown", "asset_key": str(uuid4())}]}, 400),
        ({"inputs": [{"identifier": "shared"}]}, 400),
        ({"inputs": [{"identifier": "shared", "asset_key": "x"}]}, 400),
        ({"inputs": [{"identifier": "shared", "asset_key": str(uuid4())}]}, 404),
        ({"outputs": {}}, 400),
        ({"function_key": str(uuid4())}, 404),
        ({"worker": None}, 400),
        ({"metadata": {"k" * 101: "v"}}, 400),
        ({"tag": "t" * 101}, 400),
    ],
)
def test_refusals_of_the_ledger_leave_nothing(
    user: httpx.Client, node: Node, change: dict[str, Any], status: int
) -> None:
    function, plan = function_of(node), str(uuid4())
    follow(node, 5)
    user.post(f"{P}/compute_plan/", json={"key": plan, "name": "p"})
    (task,) = chain(plan, function, 1)
    answer = user.post(f"{P}/task/bulk_create/", json={"tasks": [{**task, **change}]})
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].startswith("OE0")
    assert user.get(f"{P}/task/").json()["count"] == 0


def test_names_beyond_the_limit_are_refused(user: httpx.Client) -> None:
    body = {"key": str(uuid4()), "name": "n" * 101}
    answer = user.post(f"{P}/compute_plan/", json=body)
    assert (answer.status_code, answer.json()["detail"][:6]) == (400, "OE0101")
    assert user.get(f"{P}/compute_plan/").json()["count"] == 0
