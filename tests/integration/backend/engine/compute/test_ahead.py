"""Tasks that start as soon as their parents' results are committed here, before the ledger calls them ready."""

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from backend.engine.compute import ahead, exchange
from backend.engine.compute.exchange import lease as lease_of
from backend.engine.compute.outbox import Entry
from backend.engine.compute.sessions import SessionStore
from protos.orchestrator import common_pb2, computetask_pb2
from tests.integration.backend.engine.world import OTHER, World, eventually

MODEL = "ASSET_MODEL"


class Chain:
    """A plan whose tasks follow each other, behind a root that is done once the rows of all are there."""

    def __init__(self, world: World, length: int = 3) -> None:
        self.world = world
        self.plan, self.session = world.plan(), world.session()
        self.function = world.function(inputs={"shared": MODEL})
        line = [world.task(self.plan, self.function)]
        for _ in range(length):
            parents = {"shared": (str(line[-1]), "model")}
            line.append(world.task(self.plan, self.function, parents=parents))
        eventually(lambda: world.row_status(line[-1]), "the rows are there")
        world.give(self.session, world.result(world.lease(self.session)))
        self.tasks = line[1:]

    def kept(self, task: UUID) -> bool:
        found = self.world.one("SELECT 1 FROM task_ahead WHERE task_key = :key", key=task)
        return found is not None

    def first(self) -> Entry:
        """The first task runs to its end; its report has not begun. Its child's lease is kept."""
        lease = self.world.lease(self.session)
        assert lease["task"] == str(self.tasks[0])
        eventually(lambda: self.kept(self.tasks[1]), "the next lease is kept")
        entry = self.world.service.give(self.session, self.world.result(lease, b"first"))
        assert entry is not None
        return entry


def test_a_child_is_leased_before_the_ledger_hears_of_its_parent(world: World) -> None:
    chain = Chain(world)
    parent, child, grandchild = chain.tasks
    entry = chain.first()
    assert world.service.open_next(entry) is True
    work = world.service.take(chain.session)
    assert work is not None
    lease = lease_of(work)
    assert (lease["task"], "after" in lease) == (str(child), False)
    assert exchange.parents(work) == [parent]
    assert Path(lease["inputs"][0]["path"]).read_bytes() == b"first"
    assert world.status(child) == "STATUS_WAITING_FOR_PARENT_TASKS"
    assert world.service.start(work) is False, "the ledger waits for the parent"
    world.service.report(entry)
    assert world.status(parent) == "STATUS_DONE"
    assert world.service.start(work) is True
    assert world.status(child) == "STATUS_EXECUTING"
    world.give(chain.session, world.result(lease))
    last = world.lease(chain.session)
    assert last["task"] == str(grandchild)
    world.give(chain.session, world.result(last))
    assert world.status(grandchild) == "STATUS_DONE"
    eventually(lambda: world.count("task_ahead") == 0, "nothing is left")


def test_the_links_of_a_chain_are_prepared_and_their_events_find_the_work_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "DEPTH", 2)
    chain = Chain(world, length=4)
    entry = chain.first()
    assert [chain.kept(task) for task in chain.tasks] == [False, True, True, False]
    world.service.open_next(entry)
    world.service.report(entry)
    eventually(lambda: chain.kept(chain.tasks[3]), "the line moved on by one")
    assert world.one("SELECT count(*) FROM work WHERE kind = 'task'")[0] == 3
    assert world.work_state(chain.tasks[1]) == "ready"
    assert world.preparation.awaited(str(chain.tasks[3]))
    assert not world.preparation.awaited(str(chain.tasks[1]))


def test_a_wide_tree_is_not_prepared_whole(world: World) -> None:
    plan, session = world.plan(), world.session()
    function = world.function(inputs={"shared": MODEL})
    root = world.task(plan, function)
    rows = [world.task(plan, function, parents={"shared": (str(root), "model")})]
    for parent in (rows[0], rows[0], root):
        rows += [
            world.task(plan, function, parents={"shared": (str(parent), "model")})
            for _ in range(ahead.WIDTH)
        ]
    eventually(lambda: world.row_status(rows[-1]), "the rows are there")
    world.give(session, world.result(world.lease(session)))
    eventually(lambda: world.row_status(rows[0]) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"
               or None, "its children are ready")  # fmt: skip
    assert 0 < world.count("task_ahead") <= ahead.WIDTH


def two_of_one_root(world: World) -> tuple[UUID, UUID, UUID, UUID]:
    """A session, a task of two parents, and those: ready, for their own parent is done."""
    plan, session = world.plan(), world.session()
    function = world.function(inputs={"a": MODEL, "b": MODEL})
    root = world.task(plan, function)
    one, two = (world.task(plan, function, parents={"a": (str(root), "model")}) for _ in range(2))
    both = world.task(plan, function, parents={"a": (str(one), "model"), "b": (str(two), "model")})
    eventually(lambda: world.row_status(both), "the rows are there")
    world.give(session, world.result(world.lease(session)))
    return session, both, one, two


def test_a_parent_that_was_told_counts_before_its_event_is_here(world: World) -> None:
    session, both, *_ = two_of_one_root(world)
    leases = [world.lease(session), world.lease(session)]
    eventually(lambda: world.count("task_ahead") == 1, "its lease is kept")
    world.halt()  # no event is applied any more
    world.give(session, world.result(leases[0]))
    entry = world.service.give(session, world.result(leases[1]))
    assert entry is not None
    assert world.service.open_next(entry) is True
    work = world.service.take(session)
    assert work is not None
    assert work.key == both


def test_where_nobody_opened_it_the_event_uses_the_kept_lease(world: World) -> None:
    chain = Chain(world)
    world.preparation.turn = lambda: False  # type: ignore[method-assign]
    world.service.report(chain.first())
    lease = world.lease(chain.session)
    assert lease["task"] == str(chain.tasks[1])
    assert Path(lease["inputs"][0]["path"]).read_bytes() == b"first"
    assert not chain.kept(chain.tasks[1])


def test_a_failure_opens_nothing(world: World) -> None:
    chain = Chain(world)
    lease = world.lease(chain.session)
    eventually(lambda: chain.kept(chain.tasks[1]), "the next lease is kept")
    entry = world.service.give(chain.session, world.failure(lease, "EXECUTION"))
    assert entry is not None
    assert world.service.open_next(entry) is False
    assert world.service.take(chain.session) is None
    world.service.report(entry)
    eventually(lambda: world.count("task_ahead") == 0, "the plan failed: no lease is kept")
    assert world.work_state(chain.tasks[1]) is None


def test_a_large_model_goes_the_ledgers_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MOST_BYTES", 4)
    assert world.service.open_next(Chain(world).first()) is False


def test_a_task_of_two_parents_waits_for_both(world: World) -> None:
    session, both, one, two = two_of_one_root(world)
    leases = [world.lease(session), world.lease(session)]
    eventually(lambda: world.count("task_ahead") == 1, "its lease is kept")
    opened = []
    for lease in leases:
        entry = world.service.give(session, world.result(lease, lease["task"].encode()))
        assert entry is not None
        opened.append(world.service.open_next(entry))
    assert opened == [False, True]
    work = world.service.take(session)
    assert work is not None
    assert (work.key, set(exchange.parents(work))) == (both, {one, two})
    inputs: list[dict[str, Any]] = lease_of(work)["inputs"]
    contents = [Path(given["path"]).read_bytes().decode() for given in inputs]
    assert contents == [str(one), str(two)], "in the task's order"


def test_a_child_of_another_organizations_task_waits_for_the_ledger(world: World) -> None:
    plan, function = world.plan(), world.function(inputs={"shared": MODEL})
    theirs = world.task(plan, function, worker=OTHER)
    world.task(plan, function, parents={"shared": (str(theirs), "model")})
    mine = world.task(plan, function)
    lease = world.lease(world.session())
    assert lease["task"] == str(mine), "the bridge is behind both by now"
    assert world.count("task_ahead") == 0


def test_a_plan_canceled_meanwhile_ends_the_child_and_keeps_its_result_out(world: World) -> None:
    chain = Chain(world)
    entry = chain.first()
    world.service.open_next(entry)
    work = world.service.take(chain.session)
    assert work is not None
    result = world.result(lease_of(work))
    world.mine.cancel_plan(chain.plan)
    beat = eventually(
        lambda: world.service.beat(chain.session, {work.key: work.lock_token}).canceled or None,
        "the runner is told",
    )
    assert beat == (work.key,)
    world.service.report(entry)
    for task in chain.tasks:
        eventually(lambda t=task: world.status(t) == "STATUS_CANCELED", "canceled")  # type: ignore[misc]
    assert world.service.start(work) is True, "nobody asks again"
    world.give(chain.session, result)
    assert world.status(work.key) == "STATUS_CANCELED"
    assert world.count("outbox") == 0


def test_a_child_of_a_result_that_the_ledger_refuses_is_ended(world: World) -> None:
    chain = Chain(world)
    entry = chain.first()
    world.service.open_next(entry)
    work = world.service.take(chain.session)
    assert work is not None
    world.halt()  # what the bridge hears of next would set the plan's row anew
    world.execute(
        "UPDATE compute_plan SET status = 'PLAN_STATUS_FAILED' WHERE key = :k", k=chain.plan
    )
    assert world.service.start(work) is True
    assert world.work_state(work.key) == "done"
    assert world.service.give(chain.session, world.result(lease_of(work))) is None


@pytest.mark.parametrize("first_told", ["the parent", "the child"])
def test_after_a_death_both_results_are_told_once_in_their_order(
    world: World, first_told: str
) -> None:
    chain = Chain(world, length=2)
    parent, child = chain.tasks
    entry = chain.first()
    world.service.open_next(entry)
    work = world.service.take(chain.session)
    assert work is not None
    second = world.service.give(
        chain.session, world.result(lease_of(work))
    )  # nobody told the start
    assert second is not None
    if first_told == "the child":
        world.service.report(second)
        assert world.status(child) == "STATUS_WAITING_FOR_PARENT_TASKS"
        assert world.count("outbox") == 2
    for _ in range(3):  # the child's may come first, is put off, and its start is told first
        world.expire()
        while world.reporter.resume():
            assert world.count("outbox") <= 2
    assert (world.status(parent), world.status(child)) == ("STATUS_DONE", "STATUS_DONE")
    assert world.count("outbox") == 0


def test_a_child_whose_lease_ran_out_is_leased_again_with_its_input(world: World) -> None:
    chain = Chain(world)
    entry = chain.first()
    world.service.open_next(entry)
    lost = world.service.take(chain.session)
    assert lost is not None
    world.expire()
    again = world.service.take(world.session())
    assert again is not None
    assert (again.key, again.attempts) == (lost.key, 2)
    assert Path(lease_of(again)["inputs"][0]["path"]).read_bytes() == b"first"


def test_a_result_that_cannot_be_stored_opens_nothing(
    world: World,
) -> None:
    chain = Chain(world)
    entry = chain.first()
    (Path(entry.accepted.models[0].source)).unlink()
    assert world.service.open_next(entry) is False, "the file is gone: reporting finds it too"
    assert chain.kept(chain.tasks[1])


def test_over_http_done_comes_before_the_childs_start(world: World, api: httpx.Client) -> None:
    chain = Chain(world, length=3)
    with world.database.transaction() as session:
        runner = SessionStore(session).open(world.settings.SECRET_KEY, "runner")
    bearer = {"Authorization": f"Bearer {runner.token}"}
    body: dict[str, Any] = {"session": str(runner.id), "wait_s": 10}
    for task in chain.tasks:
        answer = api.post("/runner/exchange/", json=body, headers=bearer).json()
        lease = answer["lease"]
        assert lease["task"] == str(task)
        result = world.result(lease)
        body["result"] = result.model_dump(mode="json")
    api.post("/runner/exchange/", json={**body, "wait_s": 0}, headers=bearer)
    eventually(lambda: world.status(chain.tasks[-1]) == "STATUS_DONE", "the last is done")
    assert _told(world, chain.tasks) == [
        (task, status) for task in chain.tasks for status in ("STATUS_EXECUTING", "STATUS_DONE")
    ]


def _told(world: World, tasks: list[UUID]) -> list[tuple[UUID, str]]:
    """Starts and ends of these tasks as the ledger recorded them, up to the end of the last."""
    told: list[tuple[UUID, str]] = []
    stream = world.mine.subscribe("")
    for event in stream:
        if event.asset_kind == common_pb2.ASSET_COMPUTE_TASK:
            status = computetask_pb2.ComputeTaskStatus.Name(event.compute_task.status)
            if UUID(event.asset_key) in tasks and status in ("STATUS_EXECUTING", "STATUS_DONE"):
                told.append((UUID(event.asset_key), status))
        if told and told[-1] == (tasks[-1], "STATUS_DONE"):
            stream.cancel()
            break
    return told
