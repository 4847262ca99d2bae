"""The work queue on a real PostgreSQL: claims, fairness, leases that end."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from backend.engine.compute.claiming import Claiming
from backend.engine.compute.demands import Needs
from backend.engine.compute.preparing import PreparingStore
from backend.engine.compute.queue import Claimed, NewWork, WorkQueue
from backend.engine.compute.tables import Kind
from backend.kit.database import Database

OFFER = {"plan": "p", "outputs": []}


@pytest.fixture
def queue(database: Database) -> "Work":
    return Work(database)


class Work:
    """The queue with one short transaction a call."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @contextmanager
    def open(self) -> Iterator[WorkQueue]:
        with self.database.transaction() as session:
            yield WorkQueue(session)

    def ready(self, plan: UUID, count: int = 1, channel: str = "mychannel") -> list[UUID]:
        """Tasks that are prepared."""
        keys = [uuid4() for _ in range(count)]
        with self.open() as queue:
            queue.add([NewWork(Kind.TASK, key, channel, plan) for key in keys])
        with self.database.transaction() as session:
            store = PreparingStore(session)
            for work in store.new(1000):
                store.offer(work, OFFER)
        return keys

    def claim(self, session: UUID | None = None) -> Claimed | None:
        with self.database.transaction() as opened:
            return Claiming(opened).claim(session or uuid4(), Needs(1000, 0, 0)).work

    def expire(self) -> None:
        """As if the leases had run out: the clock is PostgreSQL's."""
        with self.database.transaction() as session:
            session.connection().execute(
                text(
                    "UPDATE work SET leased_until = now() - interval '1 ms' WHERE state = 'leased'"
                )
            )
        with self.open() as queue:
            queue.sweep()

    def state(self, key: UUID) -> str:
        with self.database.reading() as connection:
            return str(
                connection.execute(
                    text("SELECT state FROM work WHERE key = :key"), {"key": key}
                ).scalar_one()
            )


def test_work_inserted_twice_is_there_once(queue: Work) -> None:
    work = NewWork(Kind.TASK, uuid4(), "mychannel", uuid4())
    with queue.open() as opened:
        assert opened.add([work, work]) == {"new"}
    with queue.open() as opened:
        assert opened.add([work]) == set()


def test_claims_go_round_the_plans(queue: Work) -> None:
    big, small = uuid4(), uuid4()
    queue.ready(big, 6)
    queue.ready(small, 2)
    order = [claimed.compute_plan_key for claimed in (queue.claim() for _ in range(4)) if claimed]
    assert Counter(order) == {big: 2, small: 2}
    assert order[0] != order[1]


def test_claims_go_round_the_channels_first(queue: Work) -> None:
    for _ in range(3):
        queue.ready(uuid4(), 2, "mychannel")
    queue.ready(uuid4(), 3, "yourchannel")
    channels = [claimed.channel for claimed in (queue.claim() for _ in range(6)) if claimed]
    assert Counter(channels) == {"mychannel": 3, "yourchannel": 3}


def _claim_all(queue: Work, start: threading.Barrier, claimed: list[UUID]) -> None:
    start.wait(10)
    while (work := queue.claim()) is not None:
        claimed.append(work.key)


def test_two_threads_never_claim_the_same_task(queue: Work) -> None:
    queue.ready(uuid4(), 40)
    claimed: list[UUID] = []
    given = (queue, threading.Barrier(4), claimed)
    threads = [threading.Thread(target=_claim_all, args=given) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(claimed) == len(set(claimed)) == 40


def test_an_expired_lease_goes_to_the_next_and_the_first_has_lost_it(queue: Work) -> None:
    (key,) = queue.ready(uuid4())
    first, second = uuid4(), uuid4()
    one = queue.claim(first)
    assert one is not None
    queue.expire()
    two = queue.claim(second)
    assert two is not None
    assert (two.key, two.attempts) == (key, 2)
    with queue.open() as opened:
        assert opened.beat(first, {key: one.lock_token}).lost == (key,)
        assert opened.beat(second, {key: two.lock_token}).lost == ()
        assert opened.settle(one) is False


def test_a_late_heartbeat_takes_an_expired_lease_back(queue: Work) -> None:
    (key,) = queue.ready(uuid4())
    session = uuid4()
    one = queue.claim(session)
    assert one is not None
    queue.expire()
    assert queue.state(key) == "ready"
    with queue.open() as opened:
        assert opened.beat(session, {key: one.lock_token}).lost == ()
    assert queue.state(key) == "leased"
    assert queue.claim() is None


def test_a_session_that_asks_again_gets_the_same_lease(queue: Work) -> None:
    queue.ready(uuid4(), 2)
    session = uuid4()
    one = queue.claim(session)
    with queue.open() as opened:
        again = opened.held(session)
    assert one is not None
    assert again is not None
    assert (again.key, again.lock_token) == (one.key, one.lock_token)


def test_the_leases_of_a_dead_session_are_open_at_once(queue: Work) -> None:
    (key,) = queue.ready(uuid4())
    session = uuid4()
    queue.claim(session)
    with queue.open() as opened:
        assert opened.report_dead(session) == [(Kind.TASK, key)]
    again = queue.claim()
    assert again is not None
    assert again.key == key


def test_work_given_back_waits_until_its_time(queue: Work) -> None:
    key = uuid4()
    with queue.open() as opened:
        opened.add([NewWork(Kind.BUILD, key, "mychannel")])
    with queue.open() as opened:
        work = opened.claim([Kind.BUILD], uuid4())
        assert work is not None
        assert opened.retry(work, "no disk", after_s=60, cause="disk full")
    with queue.open() as opened:
        assert opened.claim([Kind.BUILD], uuid4()) is None
    with queue.database.reading() as connection:
        row = connection.execute(text("SELECT cause, last_error, attempts FROM work")).one()
    assert tuple(row) == ("disk full", "no disk", 1)


def test_what_a_dead_process_of_ring_1_had_begun_is_open_for_its_heir_at_once(queue: Work) -> None:
    dead, heir = uuid4(), uuid4()
    builds = [uuid4(), uuid4()]
    (running,) = queue.ready(uuid4())
    lease = queue.claim()
    assert lease is not None
    with queue.open() as opened:
        opened.add([NewWork(Kind.BUILD, key, "mychannel") for key in builds])
        ours, theirs = opened.claim((Kind.BUILD,), heir), opened.claim((Kind.BUILD,), dead)
        assert ours is not None
        assert theirs is not None
    with queue.open() as opened:
        assert opened.inherit((Kind.BUILD,), heir) == [(Kind.BUILD, theirs.key)]
        assert opened.inherit((Kind.TASK,), heir) == [], "a runner's task is the runner's"
        assert not opened.settle(theirs), "a builder that is not dead after all has lost it"
        assert opened.extend(ours)
        again = opened.claim((Kind.BUILD,), heir)
    assert again is not None
    assert (again.key, again.attempts) == (theirs.key, 2)
    assert lease.key == running


def test_a_task_that_a_dead_process_was_preparing_is_new_for_its_heir(queue: Work) -> None:
    task = uuid4()
    with queue.open() as opened:
        opened.add([NewWork(Kind.TASK, task, "mychannel", uuid4())])
    with queue.database.transaction() as session:
        store = PreparingStore(session)
        (work,) = store.new(10)
        store.take(work)
    with queue.open() as opened:
        assert opened.inherit((Kind.TASK,), uuid4()) == [(Kind.TASK, task)]
    with queue.database.transaction() as session:
        assert [found.key for found in PreparingStore(session).new(10)] == [task]
