"""A finished build tells the ledger of its image and of nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backend.engine.images.builder import Archive
from backend.engine.images.builds import Builds, undone
from protos.orchestrator import function_pb2
from tests.integration.backend.engine.images.conftest import store_archive
from tests.integration.backend.engine.world import World, eventually


@dataclass(frozen=True)
class Image:
    manifest_digest: str = "5" * 64


class Meanwhile:
    """A builder during whose builds something else happens."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self._happens = happens

    def known(self, digest: str) -> bool:
        return False

    def build(self, archive: Archive, log_path: Path, stopped: Callable[[], bool]) -> Image:
        self._happens()
        return Image()


def test_a_name_that_changes_during_the_build_stays(world: World) -> None:
    function = world.function(ready=False)
    store_archive(world, function)
    eventually(lambda: world.work_state(function, "build") == "new", "the build is queued")
    new_name = function_pb2.UpdateFunctionParam(key=function, name="renamed")
    builder = Meanwhile(lambda: world.mine.update_function(new_name))
    assert built(world, builder, function, world.connection.on) == "renamed"


class JustAfter:
    """A ledger on which a function gets another name between the builder's question and its telling."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    def __call__(self, channel: str) -> Any:
        real, name = self._world.connection.on(channel), self._name

        class Ledger:
            def __getattr__(self, call: str) -> Any:
                return getattr(real, call)

            def update_function(self, update: function_pb2.UpdateFunctionParam) -> None:
                if update.name != name:
                    real.update_function(
                        function_pb2.UpdateFunctionParam(key=update.key, name=name)
                    )
                real.update_function(update)

        return Ledger()


def test_a_name_that_changes_while_the_image_is_told_stays(world: World) -> None:
    function = world.function(ready=False)
    store_archive(world, function)
    eventually(lambda: world.work_state(function, "build") == "new", "the build is queued")
    builder = Meanwhile(lambda: None)
    assert built(world, builder, function, JustAfter(world, "renamed")) == "renamed"


def built(world: World, builder: Meanwhile, function: str, ledger: Callable[[str], Any]) -> str:
    """The name of the function once it is built and READY."""
    signal = world.wakeups.signal("cancel")
    parts = (world.settings, world.database, world.storage, ledger, builder, signal)
    assert Builds(*parts, world.counters).turn()
    found = world.mine.function(function)
    assert found.status == function_pb2.FUNCTION_STATUS_READY
    assert found.image.checksum == Image().manifest_digest
    return found.name


@pytest.mark.parametrize(
    ("newest", "sent", "name"),
    [
        ([], ["a"], None),
        (["a"], ["a"], None),
        (["a", "a"], ["a"], None),
        (["a", "b"], ["a"], "b"),
        (["b", "a"], ["a"], None),  # given after ours
        (["b", "a"], ["a", "b"], None),  # our own before
        (["b", "c"], ["a", "b"], "c"),
    ],
)
def test_a_name_was_undone_if_it_stands_just_before_ours(
    newest: list[str], sent: list[str], name: str | None
) -> None:
    assert undone(newest, sent) == name
