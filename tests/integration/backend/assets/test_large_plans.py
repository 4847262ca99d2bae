"""A plan of ten thousand tasks among others: no query reads what it does not show."""

import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Select, text
from sqlalchemy.dialects import postgresql

from backend.assets.compute_plans import events as plan_events
from backend.assets.compute_plans import store as plan_store
from backend.assets.compute_plans.states import PlanChanges
from backend.assets.performances import store as performance_store
from backend.assets.tasks import assets as task_assets
from backend.assets.tasks import store as task_store
from backend.kit.database import Database
from backend.kit.filters import ordered_by
from backend.kit.pages import PageRequest

PLAN = UUID(int=1)
TASKS = """
INSERT INTO compute_task (key, channel, function_key, compute_plan_key, owner, worker, rank, status,
       creation_date, tag, metadata, logs_permission_public, logs_permission_authorized_ids, inputs, outputs)
SELECT gen_random_uuid(), 'mychannel', '00000000-0000-0000-0000-0000000000ff',
       lpad(to_hex(n % 4 + 1), 32, '0')::uuid, 'MyOrg1MSP', 'MyOrg' || n % 2 + 1 || 'MSP', n / 8,
       CASE WHEN n < 39000 THEN 'STATUS_DONE' ELSE 'STATUS_WAITING_FOR_PARENT_TASKS' END,
       now() + n / 500 * interval '1 s', '', jsonb_build_object('round_idx', (n / 400)::text), false,
       '{MyOrg1MSP}', '[]', '{}'
  FROM generate_series(0, 39999) AS n
"""
INPUTS = """
INSERT INTO compute_task_input (task_key, position, channel, identifier, parent_task_key,
                                parent_task_output_identifier)
SELECT key, p, 'mychannel', 'shared', gen_random_uuid(), 'model'
  FROM compute_task CROSS JOIN generate_series(0, 1) AS p
"""
PLANS = """
INSERT INTO compute_plan (key, channel, owner, name, tag, status, creation_date, metadata, done_count,
       waiting_builder_slot_count, building_count, waiting_parent_tasks_count,
       waiting_executor_slot_count, executing_count, canceled_count, failed_count)
SELECT lpad(to_hex(n), 32, '0')::uuid, 'mychannel', 'MyOrg1MSP', 'plan', '', 'PLAN_STATUS_DOING', now(),
       '{}', 9750, 0, 0, 250, 0, 0, 0, 0
  FROM generate_series(1, 4) AS n
"""


@pytest.fixture
def large(database: Database) -> Database:
    with database.transaction() as session:
        for statement in (PLANS, TASKS, INPUTS):
            session.connection().execute(text(statement))
    with database.reading() as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return database


def scanned(database: Database, query: Select[Any]) -> dict[str, set[str]]:
    """Relation → kinds of scans of the plan that PostgreSQL chooses."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    literal = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    with database.reading() as connection:
        explained = connection.exec_driver_sql(
            f"EXPLAIN (FORMAT JSON) {literal}".replace("%", "%%")
        )
        document = explained.scalar_one()
    nodes = [(json.loads(document) if isinstance(document, str) else document)[0]["Plan"]]
    found: dict[str, set[str]] = {}
    while nodes:
        node = nodes.pop()
        if "Relation Name" in node:
            found.setdefault(node["Relation Name"], set()).add(node["Node Type"])
        nodes += node.get("Plans", [])
    return found


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"ordering": "-rank"},
        {"ordering": "-creation_date"},
        {"status": "STATUS_WAITING_FOR_PARENT_TASKS"},
        {"worker": "MyOrg2MSP", "ordering": "-creation_date"},
    ],
)
def test_page_of_a_plan_needs_no_sequential_scan(
    large: Database, parameters: dict[str, str]
) -> None:
    order = ordered_by(
        parameters, task_store.ORDERING, [task_store.tasks.creation_date], task_store.tasks.key
    )
    query = task_store.tasks_of("mychannel").where(
        *task_store.conditions(parameters), task_store.tasks.compute_plan_key == PLAN
    )
    scans = scanned(large, query.order_by(*order).limit(30))
    assert "Seq Scan" not in scans["compute_task"], scans


def test_inputs_of_a_task_need_no_sequential_scan(large: Database) -> None:
    for query in (
        task_assets._inputs_of("mychannel", UUID(int=9)),
        task_assets._outputs_of("mychannel", UUID(int=9)),
    ):
        scans = scanned(large, query)
        assert "Seq Scan" not in scans.get("compute_task_input", set()), scans


def test_pages_are_complete_and_disjoint(large: Database) -> None:
    keys: list[UUID] = []
    with large.reading() as connection:
        for number in range(1, 5):
            page = task_store.page(
                connection, "mychannel", {}, PageRequest(number, 2500), plan=PLAN
            )
            assert page.count == 10_000
            keys += [row.key for row in page.rows]
    assert len(set(keys)) == 10_000


def test_settling_a_large_plan_reads_none_of_its_tasks(large: Database) -> None:
    changes = PlanChanges()
    changes.task(PLAN, "STATUS_WAITING_FOR_PARENT_TASKS", "STATUS_WAITING_FOR_EXECUTOR_SLOT")
    scans = text(
        "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_xact_user_tables"
        " WHERE relname = 'compute_task'"
    )
    with large.transaction() as session:
        before = session.connection().execute(scans).scalar_one()
        plan_events.settle(session, changes)
        assert session.connection().execute(scans).scalar_one() == before
    with large.reading() as connection:
        plan = plan_store.find(connection, "mychannel", PLAN)
    assert plan is not None
    assert (plan["waiting_parent_tasks_count"], plan["waiting_executor_slot_count"]) == (249, 1)
    assert plan["task_count"] == 10_000


def test_statistics_name_every_rank_and_round_once(large: Database) -> None:
    with large.reading() as connection:
        found = performance_store.ranks_and_rounds(connection, "mychannel", PLAN)
    assert found is not None
    assert found[0] == list(range(5000))
    assert found[1] == [str(n) for n in range(100)]
