"""Subscribers that do not read cost the ledger a bounded amount of memory, however much is said meanwhile."""

from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from orchestrator.reads import events
from orchestrator.server import Server
from protos.orchestrator.computeplan_pb2 import NewComputePlan
from tests.integration.orchestrator.member import Member
from tests.integration.orchestrator.process import ledger
from tests.unit.orchestrator import requests as r

LAZY, PLANS = 24, 300
LARGE = {str(number): "x" * 100 for number in range(1_300)}  # an event of about 140 kB
ALLOWED_MB = 80  # for 24 subscribers and 42 MB of events, which would be 1 GB in queues


def _large() -> NewComputePlan:
    return r.new_plan(metadata=LARGE)


def _memory_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def test_lazy_subscribers_cost_bounded_memory(database_url: str, tmp_path: Path) -> None:
    with ledger(database_url, tmp_path) as process, Member(process.address) as a:
        a.join()
        plans = [_large() for _ in range(PLANS)]
        for plan in plans[:100]:
            a.call("ComputePlanService/RegisterPlan", plan)
        before = _memory_mb(process.pid)
        late = [a.subscribe(timeout_s=120) for _ in range(LAZY // 2)]  # behind what is in memory
        for stream in late:
            assert next(stream).asset_key == "a"
        live = [a.subscribe(timeout_s=120) for _ in range(LAZY // 2)]
        for plan in plans[100:]:
            a.call("ComputePlanService/RegisterPlan", plan)
        grown = _memory_mb(process.pid) - before
        for stream in (late[0], live[0]):
            keys = [event.asset_key for event in islice(stream, PLANS + (stream is live[0]))]
            assert keys[-PLANS:] == r.keys(plans)
        for stream in (*late, *live):
            stream.cancel()
    assert grown < ALLOWED_MB


def test_a_batch_of_events_is_limited_in_bytes_and_never_empty(a: Member, server: Server) -> None:
    plans = [_large() for _ in range(12)]
    for plan in plans:
        a.call("ComputePlanService/RegisterPlan", plan)
    pool = server.ledger._pool
    batch = events.after(pool, "mychannel", 2, 100)
    assert 2 <= len(batch) < len(plans)
    assert sum(len(event) for _, event in batch[:-1]) < 1.1 * events.BATCH_BYTES
    positions, start = [], 0
    while batch := events.after(pool, "mychannel", start, 100):
        positions += [position for position, _ in batch]
        start = positions[-1]
    assert positions == list(range(1, 15))


def test_a_batch_reads_its_own_events_only_whatever_the_planner_believes(
    a: Member, database: "psycopg2.extensions.connection"
) -> None:
    """Statistics of a small table, and then a large one: as after the first plan of a new ledger."""
    plan, function = a.plan(), a.function()
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE event SET (autovacuum_enabled = off)")
        cursor.execute("ANALYZE")
    for _ in range(4):
        a.register(*(r.new_task(plan, function, worker="a") for _ in range(500)))
    with database.cursor() as cursor:
        cursor.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {events._BATCH}",
            ("mychannel", 500, 600, events.BATCH_BYTES),
        )
        (found,) = cursor.fetchone() or (None,)
    assert 0 < _most_rows(found[0]["Plan"]) <= 100


def _most_rows(node: dict[str, Any]) -> float:
    """Of any step of a query plan."""
    rows = float(node["Actual Rows"]) * float(node["Actual Loops"])
    return max([rows, *(_most_rows(child) for child in node.get("Plans", ()))])
