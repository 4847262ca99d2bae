"""What users read of plans, models, performances and profiling; shapes are those of the SDK."""

import httpx
import pytest
from substra.sdk import models as sdk

from backend.assets.profiling import store as profiling
from backend.fixtures.story import key, uuid
from backend.kit.database import Database

from .conftest import Tell
from .test_apply import trained

P = "/org-1"


@pytest.fixture
def told(tell: Tell, user: httpx.Client) -> httpx.Client:
    tell(trained().events)
    return user


def results(client: httpx.Client, path: str, **parameters: str) -> list[dict[str, object]]:
    answer = client.get(P + path, params=parameters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["results"]
    return found


def test_plan_is_what_the_sdk_reads(told: httpx.Client) -> None:
    answer = told.get(f"{P}/compute_plan/{key('plan')}/").json()
    plan = sdk.ComputePlan(**answer)
    assert plan.status == sdk.ComputePlanStatus.done
    assert (plan.task_count, plan.done_count) == (4, 4)
    assert plan.end_date == plan.estimated_end_date
    assert plan.creator == "external"
    assert plan.duration == int((plan.end_date - plan.start_date).total_seconds())
    assert plan.metadata == {"round": "1"}


def test_hex_key_finds_the_same_plan(told: httpx.Client) -> None:
    answer = told.get(f"{P}/compute_plan/{uuid('plan').hex}/")
    assert answer.json()["key"] == key("plan")


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({}, ["plan", "second", "third"]),
        ({"ordering": "-creation_date"}, ["third", "second", "plan"]),
        ({"status": "PLAN_STATUS_DONE"}, ["plan"]),
        ({"status": "PLAN_STATUS_FAILED,PLAN_STATUS_CANCELED"}, ["second", "third"]),
        ({"match": "RENAM"}, ["plan"]),
        ({"key": "{plan},{third}"}, ["plan", "third"]),
        ({"metadata": '[{"key":"round","type":"is","value":"1"}]'}, ["plan"]),
        ({"metadata": '[{"key":"round","type":"exists"}]'}, ["plan"]),
        ({"metadata": "nonsense"}, ["plan", "second", "third"]),
        ({"function_key": "{broken}"}, ["second"]),
        ({"worker": "MyOrg2MSP"}, ["plan"]),
        ({"creator": "external,org-1"}, ["plan", "second", "third"]),
        ({"creator": "org-1"}, []),
        ({"ordering": "-metadata__round,name"}, ["second", "third", "plan"]),
        ({"duration_min": "10"}, ["plan"]),
        (
            {"creation_date_after": "2026-01-01", "creation_date_before": "2026-01-01T00:00:10Z"},
            ["plan"],
        ),
        ({"nothing": "like this"}, ["plan", "second", "third"]),
    ],
)
def test_plans_are_filtered_and_ordered(
    told: httpx.Client, parameters: dict[str, str], names: list[str]
) -> None:
    keys = {f"{{{name}}}": key(name) for name in ("plan", "third", "broken")}
    for name, value in parameters.items():
        for place, real in keys.items():
            value = value.replace(place, real)
        parameters = {**parameters, name: value}
    found = results(told, "/compute_plan/", **parameters)
    assert [plan["key"] for plan in found] == [key(name) for name in names]


@pytest.mark.parametrize(
    "path",
    [
        "/compute_plan/?key=x",
        "/compute_plan/?function_key=x",
        "/compute_plan/?status=x",
        "/compute_plan/?creation_date_after=x",
        "/compute_plan/?duration_min=x",
        "/compute_plan/x/perf/",
        "/model/?key=x",
        "/model/?compute_task_key=x",
        "/performance/?key=x",
    ],
)
def test_malformed_values_are_refused(told: httpx.Client, path: str) -> None:
    answer = told.get(P + path)
    assert answer.status_code == 400, answer.text
    assert answer.json()


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        (f"/compute_plan/{key('nobody')}/", "No ComputePlan matches the given query."),
        ("/compute_plan/x/", "Not found."),
        (f"/model/{key('nobody')}/", "No Model matches the given query."),
        (f"/task_profiling/{key('nobody')}/", "No TaskProfiling matches the given query."),
        (f"/function/{key('nobody')}/profiling/", "No Function matches the given query."),
    ],
)
def test_unknown_assets_are_not_found(told: httpx.Client, path: str, detail: str) -> None:
    answer = told.get(P + path)
    assert (answer.status_code, answer.json()) == (404, {"detail": detail})


def test_assets_of_another_channel_are_unknown(tell: Tell, user: httpx.Client) -> None:
    story = trained()
    for event in story.events:
        event.channel = "yourchannel"
    tell(story.events, "yourchannel")
    assert results(user, "/compute_plan/") == []
    assert results(user, "/model/") == []
    assert results(user, "/performance/") == []
    assert user.get(f"{P}/compute_plan/{key('plan')}/").status_code == 404
    perf = user.get(f"{P}/compute_plan/{key('plan')}/perf/").json()
    assert perf == {"results": [], "compute_plan_statistics": None}


def test_models_are_what_the_sdk_reads(told: httpx.Client) -> None:
    found = [sdk.OutModel(**model) for model in results(told, "/model/")]
    assert [model.key for model in found] == [key(f"model {n}") for n in ("a", "b", "both")]
    assert found[0].address is None, "disabled"
    assert found[1].address is not None
    address = str(found[1].address.storage_address)
    assert address == f"{told.base_url}/org-1/model/{key('model b')}/file/".replace("//org", "/org")
    of_task = results(told, "/model/", compute_task_key=key("both"))
    assert [model["key"] for model in of_task] == [key("model both")]


def test_performances_of_a_plan(told: httpx.Client) -> None:
    answer = told.get(f"{P}/compute_plan/{key('plan')}/perf/").json()
    assert answer == {
        "results": [
            {
                "compute_task": {
                    "key": key("score"),
                    "function_key": key("test"),
                    "rank": 2,
                    "round_idx": None,
                    "worker": "MyOrg1MSP",
                },
                "identifier": "performance",
                "perf": 0.3,
            }
        ],
        "compute_plan_statistics": {
            "compute_tasks_distinct_ranks": [0, 1, 2],
            "compute_tasks_distinct_rounds": ["1"],
        },
    }


def test_performances_of_the_channel(told: httpx.Client) -> None:
    (row,) = results(told, "/performance/", match="renamed")
    assert row["performance"] == 0.3
    assert row["compute_plan_metadata"] == {"round": "1"}
    assert (row["task_rank"], row["task_round"]) == (2, None)
    assert results(told, "/performance/", status="PLAN_STATUS_FAILED") == []


def test_profiling_of_a_task_and_of_a_function(told: httpx.Client, database: Database) -> None:
    with database.transaction() as session:
        assert profiling.start(session, "mychannel", uuid("a"))
        profiling.set_steps(session, uuid("a"), {"task_execution": 20, "save_outputs": 5})
    answer = told.get(f"{P}/task_profiling/{key('a')}/").json()
    assert answer["execution_rundown"] == [
        {"step": "save_outputs", "duration": 5},
        {"step": "task_execution", "duration": 20},
    ]
    assert len(results(told, "/task_profiling/")) == 1
    for path in ("profiling", "profiling/"):
        function = told.get(f"{P}/function/{key('train')}/{path}").json()
        assert function == {
            "function_key": key("train"),
            "execution_rundown": [{"duration": 1_500_000, "step": "build_image"}],
            "duration": None,
        }


def test_only_our_own_components_write_profiling(client: httpx.Client, tell: Tell) -> None:
    tell(trained().events)
    headers = {"Substra-Channel-Name": "mychannel"}
    other, own = ("MyOrg2MSP", "s21"), ("MyOrg1MSP", "s11")
    form = {"compute_task_key": key("a")}
    refused = client.post(f"{P}/task_profiling/", data=form, headers=headers, auth=other)
    assert refused.status_code == 403, refused.text
    for status in (201, 409):
        answer = client.post(f"{P}/task_profiling/", data=form, headers=headers, auth=own)
        assert answer.status_code == status, answer.text
    path = f"{P}/task_profiling/{key('a')}/step/"
    step = {"step": "prepare_inputs", "duration": "00:00:01.5"}
    added = client.post(path, data=step, headers=headers, auth=own)
    assert (added.status_code, added.json()["duration"]) == (201, 1_500_000)
    assert client.post(path, data=step, headers=headers, auth=own).status_code == 409
    step["duration"] = "00:00:02"
    changed = client.put(f"{path}prepare_inputs/", data=step, headers=headers, auth=own)
    assert (changed.status_code, changed.json()["duration"]) == (200, 2_000_000)
    bad = client.put(f"{path}prepare_inputs/", data={"duration": "x"}, headers=headers, auth=own)
    assert bad.status_code == 400
