"""What is tried again, how often, and what never is."""

from pathlib import Path
from uuid import UUID

import pytest

from backend.engine.compute.results import Result, model_file, model_key
from tests.integration.backend.engine.world import World, eventually


def test_an_internal_failure_is_tried_again_and_then_it_is_the_tasks(world: World) -> None:
    world.service._retries = 2
    task = world.task(world.plan(), world.function())
    session = world.session()
    for attempt in (1, 2):
        world.give(session, world.failure(world.lease(session), "INTERNAL"))
        row = world.one("SELECT attempts, last_error, cause FROM work WHERE kind = 'task'")
        assert tuple(row) == (attempt, "it broke", "it will be tried again: it broke")
        assert world.status(task) == "STATUS_EXECUTING"
        world.execute("UPDATE work SET not_before = now()")
    world.give(session, world.failure(world.lease(session), "INTERNAL"))
    assert world.status(task) == "STATUS_FAILED"


def test_a_task_that_was_tried_again_may_succeed(world: World) -> None:
    task = world.task(world.plan(), world.function())
    session = world.session()
    world.give(session, world.failure(world.lease(session), "INTERNAL"))
    world.give(session, world.result(world.lease(session)))
    assert world.status(task) == "STATUS_DONE"


def test_a_users_failure_is_never_tried_again(world: World) -> None:
    task = world.task(world.plan(), world.function())
    session = world.session()
    world.give(session, world.failure(world.lease(session), "EXECUTION"))
    assert world.status(task) == "STATUS_FAILED"
    assert world.one("SELECT attempts FROM work WHERE kind = 'task'")[0] == 1


def test_inputs_that_do_not_come_in_time_fail_the_task(world: World) -> None:
    from backend.kit.errors import PeerUnreachable
    from tests.integration.backend.engine.world import IMAGE

    world.preparation.stage_s = 3600
    world.images.refused[IMAGE] = PeerUnreachable()
    task = world.task(world.plan(), world.function())
    eventually(lambda: world.one("SELECT 1 FROM work WHERE tries > 0"), "a vain preparation")
    assert world.status(task) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"
    world.execute("UPDATE work SET waits_since = now() - interval '2 hours'")
    eventually(lambda: world.status(task) == "STATUS_FAILED", "given up")


def test_a_transfer_that_takes_longer_than_the_limit_of_staging_is_ended(world: World) -> None:
    from tests.integration.backend.engine.world import IMAGE

    world.images.slow.add(IMAGE)
    world.preparation.stage_s = 1
    task = world.task(world.plan(), world.function())
    eventually(lambda: world.status(task) == "STATUS_FAILED", "given up")
    row = eventually(lambda: world.one("SELECT error_type FROM failure_report"), "the report")
    assert row.error_type == "ERROR_TYPE_INTERNAL"


def test_what_earlier_attempts_took_counts_for_the_limit_of_staging(world: World) -> None:
    from tests.integration.backend.engine.world import IMAGE

    world.images.slow.add(IMAGE)
    world.preparation.stage_s = 3600
    task = world.task(world.plan(), world.function())
    assert world.images.begun.wait(15)
    since = eventually(lambda: world.one("SELECT waits_since FROM work WHERE kind = 'task'"), "it")
    assert since[0] is not None, "the clock runs from the first attempt's beginning"
    world.execute("UPDATE work SET waits_since = now() - interval '2 hours', leased_until = now()")
    world.images.slow.clear()
    world.images.refused[IMAGE] = OSError("no space left")
    eventually(lambda: world.status(task) == "STATUS_FAILED", "given up at once")


@pytest.mark.parametrize("left", [None, b""])
def test_a_result_whose_file_was_lost_with_the_power_is_made_again(
    world: World, left: bytes | None
) -> None:
    task = world.task(world.plan(), world.function())
    session = world.session()
    cut_off(world, session, world.result(world.lease(session)), left)
    assert world.reporter.resume() is True
    assert world.status(task) == "STATUS_EXECUTING"
    lease = world.lease(session)
    assert lease["task"] == str(task)
    world.give(session, world.result(lease, b"again"))
    assert world.status(task) == "STATUS_DONE"
    key = model_key(task, "model", 0)
    assert world.storage.local_path(model_file(key)).read_bytes() == b"again"


def test_a_task_whose_results_are_lost_again_and_again_fails(world: World) -> None:
    task = world.task(world.plan(), world.function())
    session = world.session()
    cut_off(world, session, world.result(world.lease(session)), b"")
    world.execute("UPDATE work SET attempts = 99 WHERE key = :key", key=task)
    assert world.reporter.resume() is True
    assert world.reporter.resume() is True
    assert world.status(task) == "STATUS_FAILED"
    assert world.count("outbox") == 0


def cut_off(world: World, session: UUID, result: Result, left: bytes | None) -> None:
    """A result is accepted, and power fails before it is reported: `left` is what its model's file holds."""
    assert world.service.give(session, result) is not None
    path = Path(str(result.outputs[0].path))
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    world.expire()
