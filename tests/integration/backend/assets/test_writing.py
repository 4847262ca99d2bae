"""Registering plans and tasks: what the ledger is sent, what stays when it refuses or its answer is lost."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest
from sqlalchemy import text
from substra.sdk import models as sdk

from backend.app import create_app
from backend.fixtures.story import Story, key
from backend.kit.database import Database
from backend.node import Node
from backend.settings import Settings
from tests.integration.backend.conftest import log_in, serving

from .conftest import Tell
from .scripted_ledger import ScriptedLedger, running

P = "/org-1"


@pytest.fixture
def ledger() -> ScriptedLedger:
    return ScriptedLedger()  # type: ignore[abstract]


@pytest.fixture
def writer(
    settings: Settings, ledger: ScriptedLedger, database: Database
) -> Iterator[httpx.Client]:
    """User `org-1` of an application whose ledger is scripted."""
    with running(ledger) as port:
        settings = settings.model_copy(update={"ORCHESTRATOR_PORT": port})
        node = Node.build(settings)
        with serving(create_app(settings, node)) as client:
            client.headers["Authorization"] = f"Token {log_in(client)['token']}"
            yield client
        node.close()


def plan(**changes: Any) -> dict[str, Any]:
    return {"key": str(uuid4()), "name": "a plan", "tasks": [{"ignored": True}], **changes}


def task(plan_key: str, **changes: Any) -> dict[str, Any]:
    return {
        "key": str(uuid4()),
        "compute_plan_key": plan_key,
        "function_key": key("train"),
        "worker": "MyOrg1MSP",
        "tag": None,
        "metadata": None,
        "rank": None,
        "inputs": [
            {
                "identifier": "shared",
                "asset_key": key("asset"),
                "parent_task_key": None,
                "parent_task_output_identifier": None,
            }
        ],
        "outputs": {
            "model": {"permissions": {"public": False, "authorized_ids": []}, "transient": True}
        },
        **changes,
    }


@pytest.fixture
def registered(writer: httpx.Client, tell: Tell) -> str:
    """The key of a plan; the function `train` is known."""
    story = Story()
    story.function("train")
    tell(story.events)
    new = plan()
    assert writer.post(f"{P}/compute_plan/", json=new).status_code == 201
    return str(new["key"])


def test_new_plan_shows_its_creator(writer: httpx.Client) -> None:
    new = plan(tag="t", metadata={"a": "b"})
    answer = writer.post(f"{P}/compute_plan/", json=new)
    assert answer.status_code == 201, answer.text
    assert "duration" not in answer.json()
    created = sdk.ComputePlan(**answer.json())
    assert (created.creator, created.tag, created.metadata) == ("org-1", "t", {"a": "b"})
    assert created.status == sdk.ComputePlanStatus.created
    assert created.task_count == 0
    listed = writer.get(f"{P}/compute_plan/", params={"creator": "org-1"}).json()["results"]
    assert [entry["key"] for entry in listed] == [new["key"]]


def test_event_before_the_answer_leaves_the_creator(writer: httpx.Client, tell: Tell) -> None:
    new = plan()
    writer.post(f"{P}/compute_plan/", json=new)
    story = Story()
    story.plan("other")
    story.events[0].compute_plan.key = str(new["key"])
    tell(story.events)
    assert writer.get(f"{P}/compute_plan/{new['key']}/").json()["creator"] == "org-1"


def test_lost_answer_of_a_plan_is_found_again(writer: httpx.Client, ledger: ScriptedLedger) -> None:
    ledger.lost_answers = 1
    answer = writer.post(f"{P}/compute_plan/", json=plan())
    assert answer.status_code == 201, answer.text
    assert ledger.calls == ["RegisterPlan", "RegisterPlan"]


def test_repeated_plan_is_a_conflict_with_its_key(writer: httpx.Client) -> None:
    new = plan()
    assert writer.post(f"{P}/compute_plan/", json=new).status_code == 201
    again = writer.post(f"{P}/compute_plan/", json=new)
    assert again.status_code == 409
    assert again.json()["key"] == new["key"]
    assert again.json()["detail"].startswith("OE0006")
    assert writer.get(f"{P}/compute_plan/{new['key']}/").json()["creator"] == "org-1"


def test_refused_plan_leaves_nothing(
    writer: httpx.Client, ledger: ScriptedLedger, database: Database
) -> None:
    ledger.refusal = (grpc.StatusCode.INVALID_ARGUMENT, "OE0101: name: too long")
    answer = writer.post(f"{P}/compute_plan/", json=plan(name="x" * 200))
    assert (answer.status_code, answer.json()) == (400, {"detail": "OE0101: name: too long"})
    with database.reading() as connection:
        for table in ("compute_plan", "compute_plan_creator"):
            count = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            assert count == 0, table


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"key": "x", "name": "n"}',
        b'{"name": "n"}',
        b'{"key": "00000000-0000-0000-0000-000000000001"}',
        b'{"key": "00000000-0000-0000-0000-000000000001", "name": null}',
        b'{"key": "00000000-0000-0000-0000-000000000001", "name": "a\\u0000"}',
        b'{"key": "00000000-0000-0000-0000-000000000001", "name": "a\\ud800"}',
        b'{"key": "00000000-0000-0000-0000-000000000001", "name": "n", "metadata": {"a__b": "c"}}',
        b'{"key": "00000000-0000-0000-0000-000000000001", "name": "n", "metadata": {"a": {}}}',
    ],
)
def test_malformed_plans_are_refused(
    writer: httpx.Client, ledger: ScriptedLedger, body: bytes
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = writer.post(f"{P}/compute_plan/", content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()
    assert ledger.calls == []


def test_rename_is_seen_at_once(writer: httpx.Client, registered: str) -> None:
    answer = writer.put(f"{P}/compute_plan/{registered}/", json={"name": "better"})
    assert (answer.status_code, answer.json()["name"]) == (200, "better")
    assert writer.get(f"{P}/compute_plan/{registered}/").json()["name"] == "better"
    assert writer.put(f"{P}/compute_plan/{uuid4()}/", json={"name": "x"}).status_code == 404


def test_cancel_twice_is_refused_not_a_crash(writer: httpx.Client, registered: str) -> None:
    path = f"{P}/compute_plan/{registered}/cancel/"
    assert (writer.post(path).status_code, writer.post(path, json={}).status_code) == (200, 400)
    assert writer.post(f"{P}/compute_plan/{uuid4()}/cancel/").status_code == 404
    assert writer.post(f"{P}/compute_plan/x/cancel/").status_code == 404


def test_lost_answer_of_a_cancelation_counts(
    writer: httpx.Client, registered: str, ledger: ScriptedLedger
) -> None:
    ledger.lost_answers = 1
    assert writer.post(f"{P}/compute_plan/{registered}/cancel/").status_code == 200


def test_tasks_are_registered_and_read(writer: httpx.Client, registered: str) -> None:
    first = task(registered, tag="first", metadata={"round_idx": "1"})
    parent = {
        "identifier": "shared",
        "parent_task_key": first["key"],
        "parent_task_output_identifier": "model",
    }
    second = task(registered, inputs=[parent])
    answer = writer.post(f"{P}/task/bulk_create/", json={"tasks": [first, second]})
    assert answer.status_code == 200, answer.text
    created = [sdk.Task(**entry) for entry in answer.json()]
    assert [entry.key for entry in created] == [first["key"], second["key"]]
    assert "duration" not in answer.json()[0]
    assert (created[0].tag, created[0].metadata) == ("first", {"round_idx": "1"})
    assert created[0].outputs["model"].is_transient
    assert created[1].inputs[0].parent_task_key == first["key"]
    shown = writer.get(f"{P}/task/{first['key']}/").json()
    assert shown == {**answer.json()[0], "duration": 0}
    assert shown["function"]["name"] == "train"
    of_plan = writer.get(f"{P}/compute_plan/{registered}/task/").json()
    assert of_plan["count"] == 2
    plan_now = writer.get(f"{P}/compute_plan/{registered}/").json()
    assert (plan_now["status"], plan_now["waiting_executor_slot_count"]) == (
        "PLAN_STATUS_DOING",
        2,
    )


def test_event_after_the_answer_counts_no_task_twice(
    writer: httpx.Client, registered: str, ledger: ScriptedLedger, tell: Tell
) -> None:
    writer.post(f"{P}/task/bulk_create/", json={"tasks": [task(registered)]})
    story = Story()
    story.plan("any")
    story.function("train")
    story.task("any task", "any", "train")
    story.events[-1].compute_task.CopyFrom(next(iter(ledger.tasks.values())))
    tell(story.events)
    found = writer.get(f"{P}/compute_plan/{registered}/").json()
    assert found["task_count"] == 1


def test_repeated_task_is_a_conflict(writer: httpx.Client, registered: str) -> None:
    body = {"tasks": [task(registered)]}
    assert writer.post(f"{P}/task/bulk_create/", json=body).status_code == 200
    again = writer.post(f"{P}/task/bulk_create/", json=body)
    assert (again.status_code, again.json()["key"]) == (409, body["tasks"][0]["key"])


def test_lost_answer_of_tasks_is_success_if_the_same_are_stored(
    writer: httpx.Client, registered: str, ledger: ScriptedLedger
) -> None:
    ledger.lost_answers = 1
    new = task(registered, tag="t")
    answer = writer.post(f"{P}/task/bulk_create/", json={"tasks": [new]})
    assert answer.status_code == 200, answer.text
    assert answer.json()[0]["tag"] == "t"


def test_lost_answer_of_tasks_comes_in_the_order_of_their_ranks(
    writer: httpx.Client, registered: str, ledger: ScriptedLedger
) -> None:
    parent = task(registered)
    link = {"parent_task_key": parent["key"], "parent_task_output_identifier": "model"}
    child = task(registered, inputs=[{"identifier": "shared", **link}])
    ledger.lost_answers = 1
    answer = writer.post(f"{P}/task/bulk_create/", json={"tasks": [child, parent]})
    assert answer.status_code == 200, answer.text
    order = [(one["key"], one["rank"]) for one in answer.json()]
    assert order == [(parent["key"], 0), (child["key"], 1)]


def test_lost_answer_of_tasks_is_a_conflict_if_others_are_stored(
    writer: httpx.Client, registered: str, ledger: ScriptedLedger
) -> None:
    new = task(registered)
    writer.post(f"{P}/task/bulk_create/", json={"tasks": [new]})
    ledger.tasks[new["key"]].metadata["other"] = "value"
    ledger.lost_answers = 1
    another = task(registered)
    answer = writer.post(f"{P}/task/bulk_create/", json={"tasks": [new, another]})
    assert answer.status_code == 409, answer.text


def _tasks_of_two_plans(key_: str) -> Any:
    return [task(key_), task(str(uuid4()))]


@pytest.mark.parametrize(
    ("make", "detail"),
    [
        (lambda _: [], "Invalid compute plan key"),
        (lambda _: [task(str(uuid4()))], "Invalid compute plan key"),
        (_tasks_of_two_plans, "All tasks should have the same compute plan key"),
        (
            lambda k: [task(k, metadata={"a__b": "c"})],
            '"__" cannot be used in a metadata key, please use simple underscore instead',
        ),
    ],
)
def test_batches_that_make_no_sense_are_refused(
    writer: httpx.Client, registered: str, ledger: ScriptedLedger, make: Any, detail: str
) -> None:
    answer = writer.post(f"{P}/task/bulk_create/", json={"tasks": make(registered)})
    assert (answer.status_code, answer.json()) == (400, {"detail": detail})
    assert "RegisterTasks" not in ledger.calls


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tasks": None},
        {"tasks": {}},
        {"tasks": ["x"]},
        {"tasks": [{"key": "x"}]},
        {"tasks": [{**task("x")}]},
        {"tasks": [task(key("plan"), inputs="x")]},
        {"tasks": [task(key("plan"), inputs=[{}])]},
        {"tasks": [task(key("plan"), outputs={"model": {}})]},
        {"tasks": [task(key("plan"), function_key="x")]},
        {"tasks": [task(key("plan"), metadata={"a": ["b"]})]},
    ],
)
def test_malformed_batches_are_refused(writer: httpx.Client, body: Any) -> None:
    answer = writer.post(f"{P}/task/bulk_create/", json=body)
    assert answer.status_code == 400, answer.text
    assert writer.post(f"{P}/task/", json=body).status_code == 405


def test_five_hundred_tasks_take_a_moment(writer: httpx.Client, registered: str) -> None:
    """Rows and answer of a whole SDK batch; the bound is generous for a loaded machine."""
    batch = [
        task(
            registered,
            inputs=[{"identifier": "shared", "asset_key": key(f"asset {i}")} for i in range(4)],
        )
        for _ in range(500)
    ]
    started = time.monotonic()
    answer = writer.post(f"{P}/task/bulk_create/", json={"tasks": batch})
    took = time.monotonic() - started
    assert answer.status_code == 200
    assert len(answer.json()) == 500
    assert took < 3
