"""After a boot nothing is trusted that was unpacked before it, and tasks go on all the same."""

from pathlib import Path

from backend.engine.compute.power import after_a_boot
from tests.integration.backend.engine.world import World, eventually


def test_what_was_unpacked_before_a_boot_is_made_anew(world: World, tmp_path: Path) -> None:
    boot, media = tmp_path / "boot_id", world.settings.MEDIA_ROOT
    boot.write_text("first\n")
    after_a_boot(media, world.database, boot)
    sample, environment = (
        media / "cache" / "data_samples" / "1",
        media / "images" / "unpacked" / "2",
    )
    for folder in (sample, environment):
        folder.mkdir(parents=True)
        (folder / "file").write_text("")
        folder.chmod(0o555)
    model = media / "cache" / "models" / "3"
    model.write_text("flushed")
    running = world.task(world.plan(), world.function())
    assert world.lease(world.session())["task"] == str(running)
    waiting = world.task(world.plan(), world.function())
    eventually(lambda: world.work_state(waiting) == "ready", "prepared")

    assert not after_a_boot(media, world.database, boot)
    assert sample.exists()
    assert world.work_state(running) == "leased"

    world.halt()
    boot.write_text("second\n")
    assert after_a_boot(media, world.database, boot)
    assert (sample.exists(), environment.exists(), model.exists()) == (False, False, True)
    assert (world.work_state(running), world.work_state(waiting)) == ("new", "new")
    assert world.one("SELECT count(*) FROM work WHERE offer IS NOT NULL")[0] == 0


def test_a_machine_that_does_not_tell_its_boots_forgets_nothing(
    world: World, tmp_path: Path
) -> None:
    assert not after_a_boot(world.settings.MEDIA_ROOT, world.database, tmp_path / "none")
