"""A finished build tells the ledger of its image and of nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backend.engine.images.builder import Archive
from backend.engine.images.builds import Builds
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
    builds = Builds(
        world.settings,
        world.database,
        world.storage,
        world.connection.on,
        Meanwhile(lambda: world.mine.update_function(new_name)),
        world.wakeups.signal("cancel"),
        world.counters,
    )
    assert builds.turn()
    built = world.mine.function(function)
    assert built.status == function_pb2.FUNCTION_STATUS_READY
    assert (built.name, built.image.checksum) == ("renamed", Image().manifest_digest)
