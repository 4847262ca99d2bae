"""Ten thousand tasks, ten thousand samples: every query that a list really sends is explained, and counted."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg2.extensions
import pytest
from sqlalchemy import event

from backend.app import create_app, start
from backend.kit.database import Database
from backend.node import Node
from backend.settings import ChannelSettings, Settings, UserSettings
from bench.seed import seed
from tests.integration.backend.conftest import PASSWORD, log_in, serving
from tests.integration.conftest import new_database

LARGE = {"compute_task", "compute_task_input", "data_sample", "data_manager_data_sample"}
P = "/org-1"
sent: list[str] = []


class Recorder(psycopg2.extensions.cursor):
    """Keeps every statement that a thread of the application's reads sends."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002  the driver's name
        if threading.current_thread().name.startswith("read"):
            sent.append(self.mogrify(query, vars).decode())
        super().execute(query, vars)


@pytest.fixture(scope="module")
def node(postgres: str, _migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    media: Path = tmp_path_factory.mktemp("medias")
    with new_database(postgres, _migrated) as url:
        settings = Settings(
            NAME="org-1",
            MSP_ID="MyOrg1MSP",
            SUBPATH="org-1",
            CHANNELS={"mychannel": ChannelSettings()},
            USERS=[UserSettings(username="org-1", password=PASSWORD, channel="mychannel")],
            SECRET_KEY="k" * 50,
            DATABASE_URL=url,
            MEDIA_ROOT=media,
            DEFAULT_THROTTLE_RATES=10_000,
            ISOLATED=True,
        )
        built = Node.build(settings)
        start(built)
        seed(built, "mychannel")
        built.database.engine.dispose()

        @event.listens_for(built.database.engine, "connect")
        def record(connection: Any, _: Any) -> None:
            connection.cursor_factory = Recorder

        yield built
        built.close()


@pytest.fixture(scope="module")
def user(node: Node) -> Iterator[httpx.Client]:
    with serving(create_app(node.settings, node)) as client:
        client.headers["Authorization"] = f"Token {log_in(client)['token']}"
        yield client


def ask(user: httpx.Client, path: str, parameters: dict[str, str] | None = None) -> list[str]:
    """The queries of one request, without the one that finds out who asks."""
    sent.clear()
    answer = user.get(P + path, params=parameters)
    assert answer.status_code == 200, answer.text
    assert "implicit_bearer_token" in sent[0]
    return sent[1:]


def scanned(database: Database, query: str) -> set[str]:
    """The large tables that PostgreSQL would read from end to end."""
    with database.reading() as connection:
        document = connection.exec_driver_sql(
            "EXPLAIN (FORMAT JSON) " + query.replace("%", "%%")
        ).scalar_one()
    nodes = [(json.loads(document) if isinstance(document, str) else document)[0]["Plan"]]
    found = set()
    while nodes:
        plan = nodes.pop()
        if plan["Node Type"] == "Seq Scan" and plan["Relation Name"] in LARGE:
            found.add(plan["Relation Name"])
        nodes += plan.get("Plans", [])
    return found


def key_of(user: httpx.Client, kind: str, **parameters: str) -> str:
    answer = user.get(f"{P}/{kind}/", params={"page_size": "1", **parameters})
    key: str = answer.json()["results"][0]["key"]
    return key


@pytest.fixture(scope="module")
def keys(user: httpx.Client) -> dict[str, str]:
    return {
        "plan": key_of(user, "compute_plan"),
        "task": key_of(user, "task", ordering="creation_date"),
        "function": key_of(user, "function"),
        "sample": key_of(user, "data_sample"),
        "manager": key_of(user, "data_manager"),
    }


# Every route that lists or counts, and how many queries it may send: two at most.
READS = {
    "/compute_plan/?page_size=30": 1,
    "/compute_plan/{plan}/": 1,
    "/compute_plan/{plan}/task/?page_size=100": 2,
    "/compute_plan/{plan}/functions/": 1,
    "/compute_plan/{plan}/workflow_graph/": 2,
    "/compute_plan/{plan}/perf/": 2,
    "/compute_plan_metadata/": 1,
    "/task/": 2,
    "/task/?page_size=30&page=3": 2,
    "/task/?page_size=30&page=last": 2,
    "/task/?page_size=30&page=last&worker=MyOrg1MSP": 2,
    "/task/{task}/": 2,
    "/task/{task}/input_assets/": 2,
    "/task/{task}/input_assets/?kind=ASSET_DATA_SAMPLE&page_size=3&page=2": 2,
    "/task/{task}/output_assets/": 2,
    "/task/{task}/output_assets/?identifier=shared": 2,
    "/function/": 1,
    "/data_manager/?page_size=30": 1,
    "/data_manager/{manager}/": 1,
    "/data_sample/?page_size=100": 1,
    "/data_sample/?page_size=100&ordering=-creation_date&page=7": 1,
    "/data_sample/{sample}/": 1,
    "/model/": 1,
    "/performance/?page_size=100": 1,
    "/performance/?page_size=100&page=2&status=PLAN_STATUS_DONE&ordering=-task_rank": 1,
    "/performance/export/": 1,
    "/news_feed/?page_size=10": 1,
    "/news_feed/?page_size=0&important_news_only=true": 1,
    "/task_profiling/": 2,
    "/users/": 1,
}


@pytest.mark.parametrize("path", READS)
def test_reads_send_two_queries_at_most_and_read_no_large_table_from_end_to_end(
    node: Node, user: httpx.Client, keys: dict[str, str], path: str
) -> None:
    queries = ask(user, path.format(**keys))
    assert len(queries) <= READS[path] <= 2, queries
    for query in queries:
        assert scanned(node.database, query) == set(), query


AFTER = "2026-01-01T00:00:00Z"
DATES = ("creation_date", "start_date", "end_date")


def metadata(kind: str, key: str, value: str) -> str:
    return json.dumps([{"key": key, "type": kind, "value": value}])


TASK_FILTERS = {
    "": "",
    "key": "{task}",
    "owner": "MyOrg1MSP",
    "worker": "MyOrg1MSP,MyOrg2MSP",
    "tag": "tag",
    "rank": "1,2",
    "compute_plan_key": "{plan}",
    "status": "STATUS_DONE",
    "function_key": "{function}",
    **{f"{name}_after": AFTER for name in DATES},
    **{f"{name}_before": AFTER for name in DATES},
    "duration_min": "0",
    "duration_max": "1",
    "match": "a-4",
}
TASK_METADATA = [
    metadata("is", "round_idx", "1"),
    metadata("exists", "round_idx", ""),
    metadata("contains", "round_idx", "1"),
]
PLAN_FILTERS = {
    **{name: TASK_FILTERS[name] for name in TASK_FILTERS if name not in ("rank", "match")},
    "key": "{plan}",
    "status": "PLAN_STATUS_DONE",
    "creator": "external,org-1",
    "name": "plan 1",
    "match": "lan 1",
    "dataset_key": "{manager}",
    "data_sample_key": "{sample}",
}
COMMON = {"": "", "owner": "MyOrg1MSP", "creation_date_after": AFTER, "creation_date_before": AFTER}
NAMED = {**COMMON, "name": "dataset 1,train", "match": "a", "can_process": "MyOrg1MSP,MyOrg2MSP"}
TASK_ORDERS = (
    *("creation_date", "start_date", "end_date", "key", "owner", "rank", "status"),
    *("function__name", "tag", "compute_plan_key", "duration"),
)
PLAN_ORDERS = (
    *("creation_date", "start_date", "end_date", "key", "owner", "status", "tag", "name"),
    *("duration", "creator", "metadata__rounds"),
)
FEW_ORDERS = ("creation_date", "key", "name", "owner")
LISTS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "/task/": (TASK_FILTERS, TASK_ORDERS),
    "/compute_plan/{plan}/task/": (TASK_FILTERS, TASK_ORDERS),
    "/compute_plan/": (PLAN_FILTERS, PLAN_ORDERS),
    "/function/": ({**NAMED, "key": "{function}", "compute_plan_key": "{plan}"}, FEW_ORDERS),
    "/compute_plan/{plan}/functions/": (NAMED, FEW_ORDERS),
    "/data_manager/": (
        {
            **NAMED,
            "key": "{manager}",
            "data_sample_key": "{sample}",
            "can_access_logs": "MyOrg1MSP",
        },
        FEW_ORDERS,
    ),
    "/data_sample/": (
        {**COMMON, "key": "{sample}", "dataset_key": "{manager}"},
        ("creation_date", "key", "owner"),
    ),
    "/model/": (
        {**COMMON, "key": "{task}", "compute_task_key": "{task}", "compute_task": "{task}"},
        ("creation_date", "key"),
    ),
}
COMBINED = [
    (path, name, value) for path, (found, _) in LISTS.items() for name, value in found.items()
]
COMBINED += [
    (path, "metadata", value)
    for path in ("/task/", "/compute_plan/{plan}/task/", "/compute_plan/")
    for value in TASK_METADATA
]


@pytest.mark.parametrize(("path", "name", "value"), COMBINED)
def test_no_filter_in_any_order_reads_a_large_table_from_end_to_end(
    node: Node, user: httpx.Client, keys: dict[str, str], path: str, name: str, value: str
) -> None:
    if name != "metadata":
        value = value.format(**keys)
    for number, field in enumerate(LISTS[path][1]):
        # Both directions read the same index: each filter meets either of them, no filter meets both.
        directions = ("", "-") if not name else ("-",) if number % 2 else ("",)
        for ordering in [direction + field for direction in directions]:
            parameters = {"ordering": ordering, "page_size": "30", name: value}
            queries = ask(user, path.format(**keys), parameters)
            assert len(queries) <= (2 if "task" in path else 1), queries
            for query in queries:
                assert scanned(node.database, query) == set(), f"{ordering}: {query}"


def executed(database: Database, query: str) -> dict[str, int]:
    """How many rows were read of each relation by how many nodes that ran."""
    with database.reading() as connection:
        document = connection.exec_driver_sql(
            "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + query.replace("%", "%%")
        ).scalar_one()
    nodes = [(json.loads(document) if isinstance(document, str) else document)[0]["Plan"]]
    read: dict[str, int] = {}
    while nodes:
        plan = nodes.pop()
        if "Relation Name" in plan:
            rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
            name = plan["Relation Name"]
            read[name] = read.get(name, 0) + int(plan["Actual Loops"] * rows)
        nodes += plan.get("Plans", [])
    return read


@pytest.mark.parametrize(
    ("path", "relation", "most"),
    [
        ("/task/?page_size=30", "compute_task", 60),  # thirty are found, thirty shown
        ("/task/?page_size=30&ordering=-rank", "compute_task", 60),
        ("/task/?page_size=30&status=STATUS_EXECUTING", "compute_task", 0),
        ("/task/?key={task}&owner=MyOrg1MSP", "compute_task", 4),
        ("/compute_plan/{plan}/task/?page_size=50", "compute_task", 200),
        ("/compute_plan/{plan}/task/?page_size=200&rank=1,2", "compute_task", 300),
        ("/data_sample/?key={sample}", "data_sample", 4),
        ("/data_sample/?dataset_key={manager}&page_size=10", "data_sample", 2020),
    ],
)
def test_counting_reads_what_the_filter_needs(
    node: Node, user: httpx.Client, keys: dict[str, str], path: str, relation: str, most: int
) -> None:
    query = ask(user, path.format(**keys))[0]
    assert executed(node.database, query).get(relation, 0) <= most, query


@pytest.mark.parametrize("size", ["1", "10", "1000"])
@pytest.mark.parametrize(
    ("path", "queries"),
    [("/task/", 2), ("/compute_plan/", 1), ("/data_sample/", 1), ("/data_manager/", 1)],
)
def test_number_of_queries_does_not_grow_with_the_page(
    user: httpx.Client, path: str, size: str, queries: int
) -> None:
    assert len(ask(user, f"{path}?page_size={size}")) == queries
