"""What metadata ask for, what the site allows."""

import pytest

from backend.engine.compute.demands import (
    Impossible,
    Needs,
    Site,
    gpus_of_a_runner,
    needs,
    priority,
    weight,
)
from backend.settings import Settings

SITE = Site(has=Needs(8, 16 * 2**30, 2), default=Needs(4, 2**30, 0), most=Needs())


def test_a_task_that_asks_for_nothing_gets_the_default() -> None:
    assert needs(SITE, {}, None, {"memory": "much"}) == SITE.default


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("512", 512),
        ("512B", 512),
        ("2k", 2000),
        ("2KiB", 2048),
        ("1.5 GB", 1_500_000_000),
        ("1.5Gi", 3 * 2**29),
        ("0", 0),
    ],
)
def test_memory_has_units(text: str, found: int) -> None:
    assert needs(SITE, {"substra.memory": text}).memory_bytes == found


def test_the_plan_says_more_than_the_function() -> None:
    function = {"substra.cpus": "1", "substra.gpus": "0.5"}
    assert needs(SITE, function, {"substra.cpus": "2"}) == Needs(2, 2**30, 0.5)


def test_the_sites_limit_caps_what_is_asked() -> None:
    site = Site(SITE.has, SITE.default, Needs(2, 2**20, 1))
    asked = {"substra.cpus": "64", "substra.memory": "1T", "substra.gpus": "4"}
    assert needs(site, asked) == Needs(2, 2**20, 1)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("substra.cpus", "9", "asks for 9 CPUs, and this organization has 8"),
        ("substra.memory", "17GiB", "bytes of memory"),
        ("substra.gpus", "2.5", "asks for 2.5 GPUs, and this organization has 2"),
        ("substra.cpus", "-1", "no number"),
        ("substra.cpus", "nan", "no number"),
        ("substra.cpus", "many", "no number"),
        ("substra.memory", "1e9", "no amount of memory"),
        ("substra.memory", "-5", "no amount of memory"),
    ],
)
def test_what_can_never_be_had_is_said(name: str, value: str, words: str) -> None:
    with pytest.raises(Impossible, match=words):
        needs(SITE, {name: value})


def test_by_default_the_runners_share_the_machine() -> None:
    site = Site.of(Settings(CPUS=3, WORKERS=2, MEMORY_BYTES=5))
    assert (site.has, site.default) == (Needs(3, 5, 0), Needs(1.5, 0, 0))
    assert Site.of(Settings()).has.cpus >= 1


@pytest.mark.parametrize(
    ("text", "ours", "administrator", "found"),
    [
        (None, True, True, 0),
        ("high", True, True, 2),
        ("HIGH ", True, True, 2),
        ("5", True, True, 2),
        ("high", True, False, 0),
        ("low", True, False, -2),
        ("-99", True, False, -5),
        ("urgent", True, True, 0),
        ("high", False, True, 0),
        ("low", False, False, -2),
    ],
)
def test_above_normal_is_for_administrators_and_within_the_limits(
    text: str | None, ours: bool, administrator: bool, found: int
) -> None:
    metadata = {} if text is None else {"substra.priority": text}
    given = priority(metadata, ours=ours, administrator=administrator, most=2, foreign=0)
    assert given == found


def test_a_step_of_priority_doubles_the_turns() -> None:
    assert [weight(p) for p in (-2, 0, 2)] == [0.25, 1, 4]


def test_runners_never_reserve_more_gpus_than_there_are() -> None:
    shares = {(0, 2): 0.0, (1, 2): 0.5, (1, 3): 0.3333, (3, 2): 1.0, (4, 2): 2.0, (1, 1): 1.0}
    for (gpus, workers), share in shares.items():
        assert gpus_of_a_runner(gpus, workers) == share
        assert share * workers <= gpus


def test_organizations_of_one_machine_promise_no_more_than_it_has() -> None:
    alone = Site.of(Settings(WORKERS=2))
    shared = Site.of(Settings(WORKERS=2, MACHINE_SHARED_BY=4))
    assert 4 * shared.has.cpus == pytest.approx(alone.has.cpus)
    assert 4 * shared.has.memory_bytes <= alone.has.memory_bytes
    assert 2 * shared.default.cpus == pytest.approx(shared.has.cpus), "both runners have a task"
    with pytest.raises(Impossible):
        needs(shared, {"substra.cpus": str(alone.has.cpus)})


def test_what_the_site_says_of_itself_is_not_divided() -> None:
    site = Site.of(Settings(CPUS=6, MEMORY_BYTES=1 << 30, MACHINE_SHARED_BY=3))
    assert (site.has.cpus, site.has.memory_bytes) == (6, 1 << 30)
