"""A build that nobody wants any more ends at once and leaves nothing."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from backend.engine.images.builder import Archive
from backend.engine.images.builds import Builds
from backend.engine.images.embedded import BuiltImage
from backend.engine.images.processes import BuildStopped
from protos.orchestrator import function_pb2
from tests.integration.backend.engine.images.conftest import Workshop, archive_of, store_archive
from tests.integration.backend.engine.world import World, eventually

SLEEPS = 'FROM python:3.11-slim\nRUN sleep 271 & sleep 272\nENTRYPOINT ["python3", "function.py"]\n'


def _sleepers() -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [])[:2] in (["sleep", "271"], ["sleep", "272"]):
            found.append(process.pid)
    return found


def _build(
    workshop: Workshop, archive: Path, stop: threading.Event, outcome: list[BaseException]
) -> None:
    try:
        workshop.builder.build(archive, workshop.folder / "log", stop.is_set)
    except BaseException as error:  # the test looks at it
        outcome.append(error)


def test_a_stopped_build_leaves_no_process_and_no_folder(workshop: Workshop) -> None:
    stop = threading.Event()
    archive = archive_of(workshop.folder, {"Dockerfile": SLEEPS, "function.py": ""})
    outcome: list[BaseException] = []
    thread = threading.Thread(target=_build, args=(workshop, archive, stop, outcome))
    thread.start()
    eventually(lambda: len(_sleepers()) == 2, "the RUN line runs", 60)
    began = time.monotonic()
    stop.set()
    thread.join(30)
    assert time.monotonic() - began < 2
    assert [type(error) for error in outcome] == [BuildStopped]
    assert _sleepers() == []
    assert list((workshop.media / "images" / "builds").iterdir()) == []


class Endless:
    """A builder that only ends when it is told to, or when the test is over."""

    def __init__(self) -> None:
        self.begun: list[Path] = []
        self.enough = threading.Event()

    def known(self, digest: str) -> bool:
        return False

    def build(self, archive: Archive, log_path: Path, stopped: Callable[[], bool]) -> BuiltImage:
        self.begun.append(log_path)
        log_path.write_text("it goes on and on\n")
        while not self.enough.wait(0.02):
            if stopped():
                raise BuildStopped
        raise OSError("the test is over")


@pytest.fixture
def endless() -> Endless:
    return Endless()


def _builds(world: World, endless: Endless) -> Builds:
    return Builds(
        world.settings,
        world.database,
        world.storage,
        world.connection.on,
        endless,
        world.wakeups.signal("cancel"),
        world.counters,
    )


def test_the_build_of_a_canceled_plan_stops_within_two_seconds(
    world: World, endless: Endless
) -> None:
    function, plan = world.function(ready=False), world.plan()
    world.task(plan, function)
    store_archive(world, function)
    eventually(lambda: world.work_state(function, "build") == "new", "the build is queued")
    builds = _builds(world, endless)
    thread = threading.Thread(target=builds.turn)
    thread.start()
    try:
        eventually(lambda: endless.begun or None, "it builds")
        began = time.monotonic()
        world.mine.cancel_plan(plan)
        thread.join(10)
        assert time.monotonic() - began < 2
    finally:
        endless.enough.set()
        thread.join(10)
    assert world.work_state(function, "build") == "done"
    assert world.mine.function(function).status == function_pb2.FUNCTION_STATUS_CANCELED
    assert not endless.begun[0].parent.exists()


def test_a_build_that_another_plan_wants_goes_on(world: World, endless: Endless) -> None:
    function, plan, other = world.function(ready=False), world.plan(), world.plan()
    for each in (plan, other):
        world.task(each, function)
    store_archive(world, function)
    eventually(lambda: world.work_state(function, "build") == "new", "the build is queued")
    builds = _builds(world, endless)
    thread = threading.Thread(target=builds.turn)
    thread.start()
    try:
        eventually(lambda: endless.begun or None, "it builds")
        world.mine.cancel_plan(plan)
        eventually(lambda: world.work_state(plan, "cancel") == "done", "the plan is canceled")
        assert thread.is_alive()
        assert world.mine.function(function).status == function_pb2.FUNCTION_STATUS_BUILDING
    finally:
        endless.enough.set()
        thread.join(10)
