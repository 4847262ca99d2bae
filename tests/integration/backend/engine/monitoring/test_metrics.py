"""What a scrape of an organization finds, and who may scrape."""

import asyncio
import re
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.engine.compute.metrics import may_read
from backend.kit.database import Database
from backend.monitoring.counters import Counters
from backend.monitoring.queries import count_queries
from backend.monitoring.requests import CountedRequests
from tests.integration.backend.engine.world import World, eventually


def scrape(api: httpx.Client) -> dict[str, float]:
    answer = api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def test_a_scrape_shows_what_was_done_and_what_waits(world: World, api: httpx.Client) -> None:
    function = world.function()
    tasks = [world.task(world.plan(), function) for _ in range(4)]
    eventually(lambda: all(world.work_state(task) == "ready" for task in tasks), "prepared")
    session = world.session()
    first = world.result(world.lease(session))
    world.give(session, first.model_copy(update={"profile": {"start": "zygote"}}))
    world.give(session, world.failure(world.lease(session), "EXECUTION"))
    world.lease(session)
    world.expire()
    world.lease(session)
    world.counters.flush(now=True)

    failed = 'celery_tasks_failed_total{hostname="org-1",name="compute_task"}'
    eventually(lambda: scrape(api)[failed] == 1, "the events")
    found = scrape(api)
    assert found['celery_worker_up{hostname="runner"}'] == 1
    assert found['celery_tasks_active{hostname="runner"}'] == 1
    assert found['celery_tasks_received_total{hostname="org-1",name="compute_task"}'] == 4
    assert found['celery_tasks_succeeded_total{hostname="org-1",name="compute_task"}'] == 1
    assert found['celery_tasks_succeeded_total{hostname="org-1",name="build_image"}'] == 1
    assert found['substra_queue_depth{kind="task",state="ready"}'] == 1
    assert found['substra_queue_oldest_wait_seconds{kind="task"}'] > 0
    assert found['substra_lease_expiries_total{kind="task"}'] == 1
    assert found['substra_task_starts_total{start="zygote"}'] == 1
    assert found['substra_resources_used{resource="cpus"}'] > 0
    assert found["substra_events_parked"] == 0
    keys = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-")
    assert not [name for name in found if keys.search(name)]


def test_counts_never_fall_when_waiting_tasks_are_canceled(world: World, api: httpx.Client) -> None:
    """A counter that falls is a restart to Prometheus, which then counts everything once more."""
    plan = world.plan()
    tasks = [world.task(plan, world.function()) for _ in range(2)]
    eventually(lambda: all(world.work_state(task) == "ready" for task in tasks), "prepared")
    before = scrape(api)
    world.mine.cancel_plan(plan)
    eventually(lambda: all(world.status(task) == "STATUS_CANCELED" for task in tasks), "canceled")
    received = 'celery_tasks_received_total{hostname="org-1",name="compute_task"}'
    assert before[received] == 2
    eventually(
        lambda: all(world.row_status(task) == "STATUS_CANCELED" for task in tasks), "the events"
    )
    after = scrape(api)
    fallen = [
        n for n in before if n.startswith("celery_") and "_total" in n and after[n] < before[n]
    ]
    assert fallen == []


def test_the_counts_of_requests_reach_the_scrape(world: World, api: httpx.Client) -> None:
    other = Counters(world.database)
    passed = CountedRequests(_answering(404), lambda: other)
    asyncio.run(_request_through(passed, "GET"))
    asyncio.run(_request_through(passed, "BREW"))
    other.flush(now=True)
    found = scrape(api)
    assert found['django_http_requests_total_by_method_total{method="GET"}'] == 1
    assert found['django_http_requests_total_by_method_total{method="other"}'] == 1
    assert found['django_http_responses_total_by_status_total{status="404"}'] == 2
    assert found["substra_http_response_seconds_total"] > 0


def test_the_names_of_django_prometheus_are_there(world: World, api: httpx.Client) -> None:
    for _ in range(3):
        assert api.get("/info/").status_code == 200
    assert api.get(f"/function/{uuid4()}/").status_code == 404
    counted = Counters(world.database)
    failing = CountedRequests(_breaking, lambda: counted)
    with pytest.raises(LookupError):
        asyncio.run(_request_through(failing, "GET"))
    counted.flush(now=True)
    names = set(re.findall(r"^# TYPE (\S+)", api.get("/metrics").text, re.MULTILINE))
    assert {
        "django_http_requests_before_middlewares_total",
        "django_http_responses_before_middlewares_total",
        "django_http_requests_latency_including_middlewares_seconds",
        "django_http_requests_total_by_method_total",
        "django_http_requests_total_by_transport_total",
        "django_http_requests_body_total_bytes",
        "django_http_responses_total_by_status_total",
        "django_http_responses_total_by_status_view_method_total",
        "django_http_responses_body_total_bytes",
        "django_http_responses_streaming_total",
        "django_http_exceptions_total_by_type_total",
        "django_db_new_connections_total",
        "django_db_execute_total",
        "django_db_execute_many_total",
        "django_db_errors_total",
        "django_db_query_duration_seconds",
        "django_migrations_applied_total",
        "django_migrations_unapplied_total",
    } <= names
    found = scrape(api)
    assert found['django_http_exceptions_total_by_type_total{type="LookupError"}'] == 1
    latency = "django_http_requests_latency_including_middlewares_seconds"
    assert found[f'{latency}_bucket{{le="+Inf"}}'] == found[f"{latency}_count"] >= 1
    assert found['django_migrations_unapplied_total{connection="default"}'] == 0
    assert found['django_migrations_applied_total{connection="default"}'] > 0


def test_statements_connections_and_errors_are_counted(database: Database) -> None:
    counters = Counters(database)
    other = Database(database.url, size=1)
    count_queries(other.engine, counters)
    with other.reading() as connection:
        connection.exec_driver_sql("SELECT 1")
    with pytest.raises(ProgrammingError), other.reading() as connection:
        connection.exec_driver_sql("SELECT * FROM nowhere")
    other.dispose()
    counters.flush(now=True)
    with database.reading() as connection:
        query = text("SELECT name, labels::json ->> 'type' AS type, value FROM metric_counter")
        rows = {(row.name, row.type): row.value for row in connection.execute(query)}
    assert rows["django_db_new_connections", None] == 1
    assert rows["django_db_execute", None] >= 2
    assert rows["django_db_errors", "UndefinedTable"] == 1
    assert rows["django_db_query_duration_seconds_sum", None] > 0


async def _breaking(scope: Scope, receive: Receive, send: Send) -> None:
    raise LookupError


def _answering(status: int) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(status_code=status)(scope, receive, send)

    return app


async def _request_through(app: ASGIApp, method: str) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        assert message["type"].startswith("http.response")

    await app({"type": "http", "method": method, "path": "/", "headers": []}, receive, send)


def test_what_comes_through_a_proxy_finds_nothing(api: httpx.Client) -> None:
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert api.get("/metrics", headers={name: "127.0.0.1"}).status_code == 404


def _request(host: str, authorization: str = "") -> Request:
    headers = [(b"authorization", authorization.encode())] if authorization else []
    return Request({"type": "http", "headers": headers, "client": (host, 1)})


@pytest.mark.parametrize(
    ("host", "token", "authorization", "allowed"),
    [
        ("127.0.0.1", "", "", True),
        ("::1", "", "", True),
        ("10.0.0.7", "", "", False),
        ("testclient", "", "", False),
        ("127.0.0.1", "secret", "", False),
        ("127.0.0.1", "secret", "Bearer wrong", False),
        ("10.0.0.7", "secret", "Bearer secret", True),
        ("10.0.0.7", "", "Bearer ", False),
    ],
)
def test_metrics_are_for_this_machine_or_for_who_has_the_token(
    host: str, token: str, authorization: str, allowed: bool
) -> None:
    assert may_read(_request(host, authorization), token) is allowed


def test_counts_of_several_processes_add_up(database: Database) -> None:
    name = f"test_{uuid4().hex[:8]}"
    one, other = Counters(database), Counters(database)
    one.add(name, 2, kind="a", other="b")
    one.add(name, 3, other="b", kind="a")
    other.add(name, 1, kind="a", other="b")
    one.flush(now=True)
    other.flush()  # its time has not come
    other.flush(now=True)
    one.flush(now=True)
    with database.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT labels, value FROM metric_counter WHERE name = %s", (name,)
        ).all()
    assert [tuple(row) for row in rows] == [('{"kind":"a","other":"b"}', 6.0)]
