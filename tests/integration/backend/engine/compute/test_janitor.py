"""What nobody remembers is found again from rows and ledger: lost work, orphaned files."""

from uuid import UUID

from tests.integration.backend.engine.world import CHANNEL, World, eventually


def test_the_janitor_makes_work_that_was_lost(world: World) -> None:
    task = world.task(world.plan(), world.function())
    eventually(lambda: world.work_state(task) == "ready", "prepared")
    world.execute("DELETE FROM work")
    world.janitor.reconcile()
    session = world.session()
    assert UUID(world.lease(session)["task"]) == task


def test_an_executing_task_without_work_is_leased_again(world: World) -> None:
    task = world.task(world.plan(), world.function())
    world.lease(world.session())
    eventually(lambda: world.row_status(task) == "STATUS_EXECUTING", "the event")
    world.execute("DELETE FROM work")
    world.janitor.reconcile()
    assert world.lease(world.session())["task"] == str(task)


def test_an_orphaned_model_file_is_removed_after_an_hour(world: World) -> None:
    key = UUID(int=7)
    with world.storage.writer() as writer:
        writer.write(b"x")
        writer.commit(f"models/{key}/model")
    world.execute(
        "INSERT INTO model_file (key, channel, bucket, file, checksum, size, creation_date) "
        "VALUES (:key, :channel, 'substra-model', :file, '', 1, now() - interval '2 hours')",
        key=key,
        channel=CHANNEL,
        file=f"models/{key}/model",
    )
    world.janitor.clean()
    assert not world.storage.exists(f"models/{key}/model")
    assert world.count("model_file") == 0
