"""Two ledger processes on one database: events cross over, the lease too; who lost it commits nothing."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partialmethod
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import psycopg2
import pytest

from orchestrator import gossip
from orchestrator.lease import LEASE_S
from orchestrator.server import Server
from orchestrator.writer import Job, Outcome, Writer
from tests.integration.orchestrator.member import Member
from tests.integration.orchestrator.process import Process, ledger
from tests.integration.orchestrator.waiting import until

CHANNELS = {"mychannel": ["a", "b"]}
TAKE_OVER_S = 5.0
AT_ONCE_S = 0.5
PLANS = 20


@contextmanager
def pair(database_url: str) -> Iterator[tuple[Member, Member]]:
    """Members at two servers, of which the first writes."""
    with ExitStack() as stack:
        members: list[Member] = []
        for _ in range(2):
            server = Server(database_url, CHANNELS)
            server.start()
            stack.callback(server.stop)
            member = stack.enter_context(Member(server.address))
            if not members:
                member.join()
            members.append(member)
        yield members[0], members[1]


def _delays(writer: Member, reader: Member) -> list[float]:
    """Seconds from each answer until the other server's subscriber has the event."""
    stream = reader.subscribe()
    assert next(stream).asset_key == "a"
    delays = []
    for _ in range(PLANS):
        plan = writer.plan()
        answered = time.monotonic()
        assert next(stream).asset_key == plan
        delays.append(time.monotonic() - answered)
    stream.cancel()
    return sorted(delays)


def test_events_reach_the_other_process_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gossip, "POLL_S", 60.0)  # by notification, or not in time
    with pair(database_url) as (one, two):
        delays = _delays(one, two)
    assert delays[PLANS // 2] < AT_ONCE_S


def test_a_lost_notification_costs_one_poll(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gossip.Gossip, "tell", lambda *_: None)
    monkeypatch.setattr("tests.integration.orchestrator.test_feed_replicas.PLANS", 2)
    with pair(database_url) as (one, two):
        delays = _delays(one, two)
    assert delays[-1] < gossip.POLL_S + 2.0


def test_the_writers_transaction_holds_no_notification(
    server: Server, a: Member, database: "psycopg2.extensions.connection"
) -> None:
    """NOTIFY holds a lock of the whole PostgreSQL server until after the flush (rule 8)."""
    assert a.plan()
    spoken: dict[str, str] = {}

    def said() -> bool:
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT application_name, query FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'ledger-%'"
            )
            spoken.update({name: query for name, query in cursor.fetchall() if query})
        return "pg_notify" in spoken.get("ledger-speak", "")

    until(said)
    assert "notify" not in spoken["ledger-write"].lower()


# ------------------------------------------------------------------ the lease
@pytest.fixture
def processes(database_url: str, tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with ledger(database_url, folders[0]) as first:
        with Member(first.address) as member:
            member.join()
        with ledger(database_url, folders[1]) as second:
            yield first, second


def _state(url: str) -> tuple[int, int, int]:
    """Epoch, position of the head, events of the channel."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT epoch, position, (SELECT count(*) FROM event WHERE channel = h.channel)"
            " FROM channel_head h WHERE channel = 'mychannel'"
        )
        epoch, position, events = cursor.fetchone() or (0, 0, 0)
    connection.close()
    return int(epoch), int(position), int(events)


def test_a_killed_writer_is_replaced_within_five_seconds(
    processes: tuple[Process, Process], database_url: str
) -> None:
    first, second = processes
    with Member(first.address) as one, Member(second.address) as two:
        plans = [one.plan()]
        epoch, _, _ = _state(database_url)
        stream = two.subscribe()
        first.kill()
        killed = time.monotonic()
        plans.append(two.plan())
        assert time.monotonic() - killed < TAKE_OVER_S
        assert [event.asset_key for event in islice(stream, 3)] == ["a", *plans]
        stream.cancel()
    after, position, events = _state(database_url)
    assert (after, position, events) == (epoch + 1, 3, 3)


def test_a_writer_that_was_frozen_and_replaced_commits_nothing_any_more(
    processes: tuple[Process, Process], database_url: str
) -> None:
    """It wakes with a call in its hands and believes that it writes."""
    first, second = processes
    with (
        Member(first.address) as one,
        Member(second.address) as two,
        ThreadPoolExecutor(1) as pool,
    ):
        one.plan()
        epoch, _, _ = _state(database_url)
        first.send_signal(signal.SIGSTOP)
        try:
            stalled = pool.submit(one.plan)  # waits in the frozen process's socket
            began = time.monotonic()
            taken = two.plan()
            assert time.monotonic() - began < TAKE_OVER_S
        finally:
            first.send_signal(signal.SIGCONT)
        error = stalled.exception(20)
        assert isinstance(error, grpc.RpcError)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        last = two.plan()
        told = [event.asset_key for event in two.events(4)]
        assert told[2:] == [taken, last]
        assert told == [event.asset_key for event in one.events(4)]
    assert _state(database_url) == (epoch + 1, 4, 4)
    assert LEASE_S < TAKE_OVER_S


def _slowly(
    writer: Writer, decide: Callable[..., list[tuple[Job, Outcome]]], *group: Any, trusting: bool
) -> list[tuple[Job, Outcome]]:
    """As with tens of thousands of tasks on a busy machine."""
    outcomes = decide(writer, *group, trusting=trusting)
    threading.Event().wait(LEASE_S + 1.0)
    return outcomes


def test_a_call_that_takes_longer_than_the_lease_is_carried_out_although_a_standby_waits(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pair(database_url) as (one, two):
        epoch, _, _ = _state(database_url)
        monkeypatch.setattr(Writer, "_decide", partialmethod(_slowly, Writer._decide))
        plan = one.plan()
        monkeypatch.undo()
        assert [event.asset_key for event in two.events(2)] == ["a", plan]
        assert _state(database_url) == (epoch, 2, 2)
