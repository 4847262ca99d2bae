"""What nobody remembers is found again from rows and ledger: lost work, orphaned files."""

from uuid import UUID

import pytest

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


def orphan(world: World, key: UUID) -> str:
    """A model's file and row of two hours, whose model the ledger does not know; returns the file."""
    file = f"models/{key}/model"
    with world.storage.writer() as writer:
        writer.write(b"x")
        writer.commit(file)
    world.execute(
        "INSERT INTO model_file (key, channel, bucket, file, checksum, size, creation_date) "
        "VALUES (:key, :channel, 'substra-model', :file, '', 1, now() - interval '2 hours')",
        key=key,
        channel=CHANNEL,
        file=file,
    )
    return file


def test_an_orphaned_model_file_is_removed_after_an_hour(world: World) -> None:
    file = orphan(world, UUID(int=7))
    world.janitor.clean()
    assert not world.storage.exists(file)
    assert world.count("model_file") == 0


def _die(key: str) -> None:
    raise KeyboardInterrupt(key)


def test_an_orphaned_file_goes_though_the_janitor_dies_while_removing_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = orphan(world, UUID(int=8))
    with monkeypatch.context() as patch:
        patch.setattr(world.storage, "delete", _die)
        with pytest.raises(KeyboardInterrupt):
            world.janitor.clean()
    world.janitor.clean()
    assert not world.storage.exists(file)
    assert world.count("model_file") == 0
