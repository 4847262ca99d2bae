"""Two lists that no 1.0 client calls: functions of a plan, profilings of the channel (rest-api.md 6.5, 16)."""

from typing import Any

import httpx
import pytest

from backend.assets.profiling import store as profiling
from backend.fixtures.story import DONE, EXECUTING, ORG_2, WAITING_FOR_EXECUTOR_SLOT, Story, uuid
from backend.fixtures.story import key as key_of
from backend.kit.database import Database

from .conftest import Tell

P = "/org-1"


@pytest.fixture
def told(tell: Tell, user: httpx.Client) -> httpx.Client:
    """A user of organization 1 on a channel with two plans that share a function."""
    story = Story()
    story.organization("MyOrg1MSP")
    story.organization(ORG_2)
    for name, owner in (("train", "MyOrg1MSP"), ("predict", ORG_2), ("unused", "MyOrg1MSP")):
        story.function(name, owner=owner)
    for name in ("plan", "other", "empty"):
        story.plan(name)
    for name in "abc":
        story.task(name, "plan", "train", status=WAITING_FOR_EXECUTOR_SLOT)
    story.task("d", "plan", "predict", status=WAITING_FOR_EXECUTOR_SLOT)
    story.task("e", "other", "train", status=WAITING_FOR_EXECUTOR_SLOT)
    story.moves("a", EXECUTING, DONE)
    story.moves("b", EXECUTING)
    tell(story.events)
    return user


def _page(client: httpx.Client, path: str, **parameters: str) -> dict[str, Any]:
    answer = client.get(P + path, params=parameters)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def _names(client: httpx.Client, plan: str, **parameters: str) -> list[str]:
    page = _page(client, f"/compute_plan/{key_of(plan)}/functions/", **parameters)
    assert page["count"] == len(page["results"])
    return [row["name"] for row in page["results"]]


def test_functions_of_a_plan_are_each_listed_once(told: httpx.Client) -> None:
    assert _names(told, "plan") == ["train", "predict"]  # by creation date, like all functions
    assert _names(told, "other") == ["train"]
    assert _names(told, "empty") == []
    assert _names(told, "nobody") == []  # an unknown plan is an empty one (rest-api.md 11.5)


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"ordering": "name"}, ["predict", "train"]),
        ({"ordering": "-name"}, ["train", "predict"]),
        ({"ordering": "nonsense"}, ["train", "predict"]),
        ({"owner": ORG_2}, ["predict"]),
        ({"owner": f"{ORG_2},MyOrg1MSP"}, ["train", "predict"]),
        ({"name": "train"}, ["train"]),
        ({"match": "RED"}, ["predict"]),
        ({"key": key_of("unused")}, []),
        ({"key": f"{key_of('train')},{key_of('unused')}"}, ["train"]),
        ({"compute_plan_key": key_of("empty")}, []),
        ({"creation_date_before": "2000-01-01"}, []),
        ({"can_process": "MyOrg9MSP"}, []),
        ({"nonsense": "1"}, ["train", "predict"]),
    ],
)
def test_functions_of_a_plan_take_the_filters_of_all_functions(
    told: httpx.Client, parameters: dict[str, str], names: list[str]
) -> None:
    assert _names(told, "plan", **parameters) == names


def test_functions_of_a_plan_are_whole_and_paged(told: httpx.Client) -> None:
    path = f"/compute_plan/{key_of('plan')}/functions/"
    first = _page(told, path, page_size="1")
    assert (first["count"], first["previous"]) == (2, None)
    second = told.get(first["next"]).json()
    assert [row["name"] for row in second["results"]] == ["predict"]
    assert second["previous"] == f"{told.base_url}{P}{path}?page_size=1"
    whole = told.get(f"{P}/function/{key_of('train')}/").json()
    assert first["results"] == [whole]
    assert told.get(f"{P}{path}?page=3&page_size=1").json() == {"detail": "Invalid page."}


def _profiled(database: Database, *names: str) -> None:
    for name in names:
        with database.transaction() as session:
            assert profiling.start(session, "mychannel", uuid(name))
            profiling.set_steps(session, uuid(name), {"task_execution": 20, "build_image": 7})


def test_profilings_are_listed_as_they_began(told: httpx.Client, database: Database) -> None:
    _profiled(database, "b", "a", "c")
    page = _page(told, "/task_profiling/")
    assert (page["count"], page["next"], page["previous"]) == (3, None, None)
    assert [row["compute_task_key"] for row in page["results"]] == [key_of(n) for n in "bac"]
    for row in page["results"]:
        assert row == told.get(f"{P}/task_profiling/{row['compute_task_key']}/").json()
        assert row["execution_rundown"] == [{"step": "task_execution", "duration": 20}]
    durations = {row["compute_task_key"]: row["task_duration"] for row in page["results"]}
    assert durations[key_of("b")] is None  # it still runs
    assert isinstance(durations[key_of("a")], int)


def test_profilings_are_paged_and_of_one_channel(
    told: httpx.Client, tell: Tell, database: Database
) -> None:
    _profiled(database, "a", "b")
    last = _page(told, "/task_profiling/", page_size="1", page="last")
    assert [row["compute_task_key"] for row in last["results"]] == [key_of("b")]
    assert last["next"] is None
    with database.transaction() as session:
        session.connection().exec_driver_sql("UPDATE task_profiling SET channel = 'yourchannel'")
    assert _page(told, "/task_profiling/")["results"] == []
    assert told.get(f"{P}/task_profiling/{key_of('a')}/").status_code == 404
