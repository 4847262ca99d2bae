"""A build that nobody wants any more ends at once and leaves nothing."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from backend.engine.images.builder import Archive
from backend.engine.images.builds import Builds
from backend.engine.images.embedded import BuiltImage
from backend.engine.images.processes import BuildStopped
from backend.ports.ledger.client import ChannelLedger
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


PIECES = """FROM python:3.11-slim
ENV RUN_NUMBER={number}
COPY large .
RUN head -c 33554432 /dev/zero > made
RUN cat made large > both
ENTRYPOINT ["python3", "function.py"]
"""


@dataclass
class Looks:
    """Says stop at a certain look, and counts them."""

    stop_at: float
    count: int = 0

    def __call__(self) -> bool:
        self.count += 1
        return self.count >= self.stop_at


def _is_built(workshop: Workshop, number: int, stopped: Looks) -> bool:
    files = {"Dockerfile": PIECES.format(number=number), "large": "x" * (32 << 20)}
    archive = archive_of(workshop.folder, files)
    try:
        workshop.builder.build(archive, workshop.folder / "log", stopped)
    except BuildStopped:
        return False
    return True


def test_a_build_can_be_stopped_between_any_two_pieces_of_its_work(workshop: Workshop) -> None:
    """Not in RUN lines only: unpacking, copying, writing and reading layers take long when they are large."""
    whole = Looks(math.inf)
    assert _is_built(workshop, 0, whole)
    assert whole.count > 32 << 20 >> 16  # a look at each 64 KiB at least
    for number in range(1, 6):
        looks = Looks(whole.count * number // 6)
        assert not _is_built(workshop, number, looks)
        assert looks.count == looks.stop_at  # nothing went on after it
        images = workshop.media / "images"
        assert list((images / "builds").iterdir()) == []
        left = [file for file in (images / "scratch").iterdir() if file.suffix != ".lock"]
        assert left == []


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


@dataclass(frozen=True)
class Image:
    manifest_digest: str


class AtOnce:
    """A builder whose images are ready at once."""

    def known(self, digest: str) -> bool:
        return True

    def build(self, archive: Archive, log_path: Path, stopped: Callable[[], bool]) -> Image:
        return Image("c" * 64)


class Forgetful:
    """A ledger that takes no image."""

    def __init__(self, inner: ChannelLedger) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def update_function(self, parameters: object) -> None:
        raise OSError("no way there")


@pytest.mark.parametrize(("limit_s", "status"), [(60, "FAILED"), (0, "BUILDING")])
def test_an_image_that_cannot_be_saved_in_time_is_given_up(
    world: World, limit_s: int, status: str
) -> None:
    function = world.function(ready=False)
    store_archive(world, function)
    eventually(lambda: world.work_state(function, "build") == "new", "the build is queued")
    builds = Builds(
        world.settings.model_copy(update={"IMAGE_SAVING_TIMEOUT_SECONDS": limit_s}),
        world.database,
        world.storage,
        lambda channel: cast(ChannelLedger, Forgetful(world.connection.on(channel))),
        AtOnce(),
        world.wakeups.signal("cancel"),
        world.counters,
    )
    builds.turn()
    found = world.one("SELECT state, last_error, cause FROM work WHERE kind = 'build'")
    assert tuple(found) == ("new", "no way there", "no way there")
    world.execute("UPDATE function_image SET creation_date = now() - interval '61 seconds'")
    world.execute("UPDATE work SET not_before = now()")
    builds.turn()
    became = world.mine.function(function).status
    assert function_pb2.FunctionStatus.Name(became) == f"FUNCTION_STATUS_{status}"


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
