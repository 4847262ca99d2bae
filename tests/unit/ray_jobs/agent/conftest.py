from collections.abc import Iterator
from pathlib import Path

import pytest

from ray_jobs.agent import bundle
from tests.unit.ray_jobs.agent.container import WAIT_S, Container, started


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, moved after it was made."""
    made = tmp_path_factory.mktemp("made") / "agent"
    bundle.build(made)
    return made.rename(tmp_path_factory.mktemp("moved") / "agent")


@pytest.fixture
def container(bundled: Path, tmp_path: Path) -> Iterator[Container]:
    found = started(bundled, tmp_path)
    yield found
    found.process.terminate()
    assert found.process.wait(WAIT_S) == 0
