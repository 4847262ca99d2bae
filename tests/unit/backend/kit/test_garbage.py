"""A serving process: full collections look at what requests made, and at nothing else."""

import gc
from collections.abc import Iterator

import pytest

from backend.kit import garbage


@pytest.fixture
def _restored() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.usefixtures("_restored")
def test_what_was_there_is_not_looked_at_again() -> None:
    gc.collect()  # what is garbage by now does not stay
    before = len(gc.get_objects())
    garbage.settle()
    assert gc.get_freeze_count() >= before * 0.9
    assert len(gc.get_objects()) < before * 0.1
    assert gc.get_threshold() == garbage.THRESHOLDS


@pytest.mark.usefixtures("_restored")
def test_what_comes_later_is_collected() -> None:
    garbage.settle()
    circle: list[object] = []
    circle.append(circle)
    del circle
    assert gc.collect() >= 1
