"""What the front end shows over many assets: news, graphs, metadata keys, exported performances."""

import csv
import io

import httpx
import pytest
from sqlalchemy import text

from backend.fixtures.story import START, Story, key
from backend.kit.database import Database

from .conftest import Tell
from .test_apply import trained

P = "/org-1"


@pytest.fixture
def told(tell: Tell, user: httpx.Client) -> httpx.Client:
    story = trained()
    story.data_manager("dataset")
    tell(story.events)
    return user


def news(client: httpx.Client, **parameters: str) -> list[dict[str, object]]:
    answer = client.get(f"{P}/news_feed/", params=parameters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["results"]
    assert answer.json()["count"] >= len(found)
    return found


# ----------------------------------------------------------------------------------- news
def test_news_tell_of_plans_and_datasets_newest_first(told: httpx.Client) -> None:
    found = news(told, ordering="timestamp")
    told_of = [(item["name"], item["status"]) for item in found]
    assert told_of[0] == ("dataset", "STATUS_CREATED")
    assert [status for name, status in told_of if name == "renamed"] == [
        *("STATUS_DONE", "STATUS_DOING", "STATUS_CREATED")
    ]
    stamps = [str(item["timestamp"]) for item in found]
    assert stamps == sorted(stamps, reverse=True)
    assert found[0] == {
        "asset_kind": "ASSET_DATA_MANAGER",
        "asset_key": key("dataset"),
        "name": "dataset",
        "status": "STATUS_CREATED",
        "timestamp": stamps[0],
        "detail": {},
    }


def test_failed_plan_names_its_first_failed_task(told: httpx.Client) -> None:
    (item,) = (item for item in news(told) if item["status"] == "STATUS_FAILED")
    assert item["asset_key"] == key("second")
    assert item["detail"] == {"first_failed_task_key": key("never")}


def test_important_news_are_the_ends_of_plans(told: httpx.Client) -> None:
    statuses = [item["status"] for item in news(told, important_news_only="true")]
    assert statuses == ["STATUS_CANCELED", "STATUS_FAILED", "STATUS_DONE"]
    assert len(news(told, important_news_only="True")) > 3, "only exactly `true` counts"


def test_first_moment_is_included_and_last_is_not(told: httpx.Client) -> None:
    newest, *older = (str(item["timestamp"]) for item in news(told))
    assert [item["timestamp"] for item in news(told, timestamp_after=newest)] == [newest]
    assert [item["timestamp"] for item in news(told, timestamp_before=newest)] == older


def test_useless_page_size_still_counts_the_news(told: httpx.Client) -> None:
    answer = told.get(f"{P}/news_feed/", params={"page_size": "0", "important_news_only": "true"})
    assert answer.json()["count"] == 3


def test_malformed_moment_of_news_is_refused(told: httpx.Client) -> None:
    answer = told.get(f"{P}/news_feed/", params={"timestamp_after": "soon"})
    assert (answer.status_code, answer.json()) == (
        400,
        {"timestamp": ["Enter a valid date/time."]},
    )


# --------------------------------------------------------------------------- metadata keys
def test_metadata_keys_are_distinct_and_sorted(tell: Tell, user: httpx.Client) -> None:
    story = Story()
    story.plan("one", b="1", a="1")
    story.plan("two", b="2")
    tell(story.events)
    other = Story(channel="yourchannel")
    other.plan("elsewhere", hidden="1")
    tell(other.events, "yourchannel")
    assert user.get(f"{P}/compute_plan_metadata/").json() == ["a", "b"]


def test_no_plan_has_no_metadata_keys(user: httpx.Client) -> None:
    assert user.get(f"{P}/compute_plan_metadata/").json() == []


# ------------------------------------------------------------------------- workflow graphs
def test_graph_has_every_task_and_an_edge_for_each_input_from_a_task(told: httpx.Client) -> None:
    graph = told.get(f"{P}/compute_plan/{key('plan')}/workflow_graph/").json()
    tasks = {task["key"]: task for task in graph["tasks"]}
    assert set(tasks) == {key(name) for name in ("a", "b", "both", "score")}
    assert tasks[key("score")] == {
        "key": key("score"),
        "rank": 2,
        "worker": "MyOrg1MSP",
        "status": "STATUS_DONE",
        "function_name": "test",
        "inputs_specs": [{"kind": "ASSET_MODEL", "identifier": "shared"}],
        "outputs_specs": [{"kind": "ASSET_PERFORMANCE", "identifier": "performance"}],
    }
    edges = {(edge["source_task_key"], edge["target_task_key"]) for edge in graph["edges"]}
    assert edges == {
        (key("a"), key("both")),
        (key("b"), key("both")),
        (key("both"), key("score")),
    }
    assert graph["edges"][0].keys() == {
        *("source_task_key", "source_output_identifier"),
        *("target_task_key", "target_input_identifier"),
    }


def test_function_without_inputs_has_no_specifications(tell: Tell, user: httpx.Client) -> None:
    story = Story()
    story.function("bare", inputs=[])
    story.plan("plan")
    story.task("only", "plan", "bare")
    tell(story.events)
    graph = user.get(f"{P}/compute_plan/{key('plan')}/workflow_graph/").json()
    assert graph["tasks"][0]["inputs_specs"] == []


@pytest.mark.parametrize("name", ["nobody", "third of another channel"])
def test_graph_of_an_unknown_plan_is_empty(told: httpx.Client, tell: Tell, name: str) -> None:
    other = Story(channel="yourchannel")
    other.plan("third of another channel")
    tell(other.events, "yourchannel")
    graph = told.get(f"{P}/compute_plan/{key(name)}/workflow_graph/").json()
    assert graph == {"tasks": [], "edges": []}


def test_graph_of_more_than_five_thousand_tasks_is_refused(
    told: httpx.Client, database: Database
) -> None:
    with database.transaction() as session:
        session.connection().execute(
            text(
                "INSERT INTO compute_task (key, channel, function_key, compute_plan_key, owner, worker,"
                " rank, status, creation_date, tag, metadata, logs_permission_public,"
                " logs_permission_authorized_ids, inputs, outputs)"
                " SELECT gen_random_uuid(), channel, function_key, compute_plan_key, owner, worker,"
                " rank, status, creation_date, tag, metadata, logs_permission_public,"
                " logs_permission_authorized_ids, inputs, outputs"
                " FROM compute_task CROSS JOIN generate_series(1, 4997) WHERE key = :key"
            ),
            {"key": key("a")},
        )
    answer = told.get(f"{P}/compute_plan/{key('plan')}/workflow_graph/")
    detail = "Cannot build workflow graph for more than 5000 tasks."
    assert (answer.status_code, answer.json()) == (403, {"detail": detail})


def test_malformed_plan_key_has_no_graph(told: httpx.Client) -> None:
    answer = told.get(f"{P}/compute_plan/abc/workflow_graph/")
    assert (answer.status_code, answer.json()) == (
        400,
        {"detail": 'key is not a valid UUID: "abc"'},
    )


# ------------------------------------------------------------------------------------- CSV
HEADER = (
    "compute_plan_key,compute_plan_name,compute_plan_tag,compute_plan_status,"
    "compute_plan_start_date,compute_plan_end_date,round,status,absent,"
    "identifier,worker,task_rank,task_round,performance"
)


def test_performances_are_exported_as_csv(told: httpx.Client) -> None:
    columns = {"metadata_columns": "round,status,absent"}
    answer = told.get(f"{P}/performance/export/", params=columns)
    assert answer.headers["Content-Type"].partition(";")[0] == "text/csv"
    disposition = answer.headers["Content-Disposition"]
    assert disposition == 'attachment; filename="compute_plans.csv"'
    header, line, rest = answer.text.split("\r\n")
    assert (header, rest) == (HEADER, "")
    (cells,) = csv.reader(io.StringIO(line))
    plan = told.get(f"{P}/compute_plan/{key('plan')}/").json()
    assert cells[:4] == [key("plan"), "renamed", "t", "PLAN_STATUS_DONE"]
    assert cells[5] == plan["end_date"].replace("T", " ").replace("Z", "+00:00")
    assert cells[6:] == ["1", "", "", "performance", "MyOrg1MSP", "2", "", "0.3"]


def test_export_without_a_row_has_a_header(told: httpx.Client) -> None:
    answer = told.get(f"{P}/performance/export/", params={"status": "PLAN_STATUS_CREATED"})
    assert answer.text.splitlines() == [HEADER.replace("round,status,absent,", "")]


@pytest.mark.parametrize(
    ("parameters", "rows"),
    [
        ({"creator": "external,alice"}, 1),
        ({"creator": "alice"}, 0),
        ({"duration_min": "1"}, 1),
        ({"duration_min": "100000"}, 0),
        ({"metadata": '[{"key":"round","type":"exists"}]'}, 1),
        ({"metadata": '[{"key":"round","type":"contains","value":"2"}]'}, 0),
        ({"match": "renam"}, 1),
        ({"identifier": "accuracy"}, 0),
        ({"start_date_after": START.date().isoformat()}, 1),
    ],
)
def test_export_and_list_have_the_same_filters(
    told: httpx.Client, parameters: dict[str, str], rows: int
) -> None:
    exported = told.get(f"{P}/performance/export/", params=parameters).text.splitlines()
    listed = told.get(f"{P}/performance/", params=parameters).json()
    assert (len(exported) - 1, listed["count"], len(listed["results"])) == (rows, rows, rows)


@pytest.mark.parametrize(
    "parameters",
    [{"status": "FOO"}, {"end_date_after": "x"}, {"metadata_columns": ",".join(["a"] * 201)}],
)
def test_malformed_filter_of_an_export_is_refused(
    told: httpx.Client, parameters: dict[str, str]
) -> None:
    answer = told.get(f"{P}/performance/export/", params=parameters)
    assert answer.status_code == 400, answer.text
    assert answer.json()
