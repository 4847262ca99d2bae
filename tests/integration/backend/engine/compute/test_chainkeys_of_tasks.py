"""Tasks of a plan with chainkeys: one after the other, each with what the one before made of them."""

from pathlib import Path

import pytest

from tests.integration.backend.engine.world import World, eventually


@pytest.fixture
def keyed(world: World) -> World:
    folder = world.folder / "secrets" / "study"
    folder.mkdir(parents=True)
    (folder / "2").write_bytes(b"\x01\x02")
    world.chainkeys._store = world.secrets
    world.preparation.offering.variables = {"ORGANIZATION_INDEX": "1"}
    return world


def test_tasks_of_a_plan_with_chainkeys_run_one_after_the_other(keyed: World) -> None:
    plan, function = keyed.plan(tag="study"), keyed.function()
    tasks = {str(keyed.task(plan, function)) for _ in range(2)}
    one, other = keyed.session(), keyed.session()
    lease = keyed.lease(one)
    file = Path(lease["chainkeys"]) / "chainkeys.json"
    assert file.read_text() == '{"chain_keys": {"2": [1, 2]}}'
    assert lease["variables"] == {"ORGANIZATION_INDEX": "1"}
    cause = eventually(
        lambda: keyed.one("SELECT 1 FROM work WHERE cause LIKE '%has the chainkeys%'"), "it waits"
    )
    assert cause is not None
    assert keyed.service.take(other) is None
    keyed.give(one, keyed.result(lease))
    assert file.read_text() == f"after {lease['task']}"
    second = keyed.lease(other)
    assert {lease["task"], second["task"]} == tasks
    keyed.give(other, keyed.result(second))
    assert keyed.status(second["task"]) == "STATUS_DONE"
    eventually(lambda: keyed.row_status(second["task"]) == "STATUS_DONE", "the event")
    keyed.janitor.clean()
    assert not file.parent.exists(), "the plan is over"


def test_a_task_that_fails_leaves_the_chainkeys_as_they_were(keyed: World) -> None:
    lease_of = keyed.task(keyed.plan(tag="study"), keyed.function())
    session = keyed.session()
    lease = keyed.lease(session)
    file = Path(lease["chainkeys"]) / "chainkeys.json"
    before = file.read_text()
    keyed.give(session, keyed.failure(lease, "EXECUTION"))
    assert keyed.status(lease_of) == "STATUS_FAILED"
    assert file.read_text() == before


def test_a_plan_without_a_tag_gets_none(keyed: World) -> None:
    keyed.task(keyed.plan(), keyed.function())
    assert "chainkeys" not in keyed.lease(keyed.session())


def test_a_result_without_the_chainkeys_of_its_lease_is_no_success(keyed: World) -> None:
    task = keyed.task(keyed.plan(tag="study"), keyed.function())
    session = keyed.session()
    lease = keyed.lease(session)
    result = keyed.result({k: v for k, v in lease.items() if k != "chainkeys"})
    keyed.give(session, result)
    assert keyed.status(task) == "STATUS_FAILED"


def test_a_tag_without_keys_shows_its_cause_and_waits(keyed: World) -> None:
    task = keyed.task(keyed.plan(tag="nowhere"), keyed.function())
    eventually(
        lambda: keyed.one("SELECT 1 FROM work WHERE cause LIKE '%no chainkeys with the tag%'"),
        "the cause",
    )
    assert keyed.status(task) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"
