"""Ten thousand tasks, ten thousand samples: every query that a list really sends is explained, and counted."""

import json
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
    """Keeps every statement that the driver sends."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002  the driver's name
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


def ask(user: httpx.Client, path: str) -> list[str]:
    """The queries of one request, without the one that finds out who asks."""
    sent.clear()
    answer = user.get(P + path)
    assert answer.status_code == 200, answer.text
    queries = [query for query in sent if query.lstrip().upper().startswith("SELECT")]
    assert "implicit_bearer_token" in queries[0]
    return queries[1:]


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


LISTS = {
    "/compute_plan/": 1,
    "/compute_plan/?page_size=30&ordering=-creation_date": 1,
    "/compute_plan/?status=PLAN_STATUS_DONE&page_size=30": 2,
    "/compute_plan/?function_key={function}": 2,
    "/compute_plan/?match=plan&ordering=-metadata__rounds": 2,
    "/task/": 2,
    "/task/?page_size=30&ordering=-creation_date": 2,
    "/task/?page_size=30&page=3": 2,
    "/task/?key={task}": 2,
    "/task/?status=STATUS_EXECUTING,STATUS_WAITING_FOR_EXECUTOR_SLOT": 2,
    "/task/?compute_plan_key={plan}&page_size=30": 3,
    "/compute_plan/{plan}/task/?page_size=100": 2,
    "/compute_plan/{plan}/task/?page_size=30&ordering=-rank": 2,
    "/compute_plan/{plan}/task/?page_size=30&ordering=rank&worker=MyOrg1MSP": 3,
    "/compute_plan/{plan}/task/?page_size=30&status=STATUS_DONE&ordering=-duration": 3,
    "/compute_plan/{plan}/functions/": 1,
    "/compute_plan/{plan}/workflow_graph/": 3,
    "/compute_plan/{plan}/perf/": 4,
    "/function/": 1,
    "/data_manager/?page_size=30": 1,
    "/data_manager/?data_sample_key={sample}": 1,
    "/data_sample/?page_size=100": 1,
    "/data_sample/?page_size=100&ordering=-creation_date&page=7": 1,
    "/data_sample/?dataset_key={manager}": 2,
    "/data_sample/?key={sample}": 1,
    "/model/": 1,
    "/model/?compute_task_key={task}": 1,
    "/task/{task}/input_assets/": 4,
    "/task/{task}/output_assets/": 2,
    "/performance/?page_size=100": 2,
    "/news_feed/?page_size=10": 2,
    "/news_feed/?important_news_only=true&page_size=10": 2,
    "/task_profiling/": 2,
    "/compute_plan_metadata/": 1,
    "/task/{task}/": 2,
    "/compute_plan/{plan}/": 1,
    "/data_manager/{manager}/": 1,
}


@pytest.mark.parametrize("path", LISTS)
def test_no_list_reads_a_large_table_from_end_to_end(
    node: Node, user: httpx.Client, path: str
) -> None:
    keys = {
        "plan": key_of(user, "compute_plan"),
        "task": key_of(user, "task", ordering="creation_date"),
        "function": key_of(user, "function"),
        "sample": key_of(user, "data_sample"),
        "manager": key_of(user, "data_manager"),
    }
    queries = ask(user, path.format(**keys))
    assert len(queries) <= LISTS[path], queries
    for query in queries:
        assert scanned(node.database, query) == set(), query


@pytest.mark.parametrize("size", ["1", "10", "1000"])
@pytest.mark.parametrize(
    ("path", "queries"),
    [("/task/", 2), ("/compute_plan/", 1), ("/data_sample/", 1), ("/data_manager/", 1)],
)
def test_number_of_queries_does_not_grow_with_the_page(
    user: httpx.Client, path: str, size: str, queries: int
) -> None:
    assert len(ask(user, f"{path}?page_size={size}")) == queries
