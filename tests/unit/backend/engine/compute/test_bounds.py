"""What goes when a store is too large."""

from pathlib import Path

from backend.engine.compute.bounds import Entry, surplus
from backend.engine.compute.last_use import LastUse

ENTRIES = [Entry(Path(f"/{name}"), 10, used) for name, used in (("c", 3), ("a", 1), ("b", 2))]


def _names(limit: int, in_use: set[str] | None = None, used_before: float = 100) -> list[str]:
    return [e.path.name for e in surplus(ENTRIES, limit, in_use or set(), used_before)]


def test_what_fits_stays_and_no_limit_is_no_limit() -> None:
    assert _names(30) == []
    assert _names(0) == []


def test_the_least_recently_used_goes_first_and_makes_some_room() -> None:
    assert _names(29) == ["a"]
    assert _names(15) == ["a", "b"]
    assert _names(1) == ["a", "b", "c"]


def test_what_is_in_use_or_was_just_now_never_goes() -> None:
    assert _names(1, {"/a", "/c"}) == ["b"]
    assert _names(1, used_before=1.5) == ["a"]
    assert _names(1, used_before=0.5) == []


def test_what_nobody_used_counts_as_used_when_the_process_began() -> None:
    used, path = LastUse(), Path("/x")
    began = used.of(path)
    used.touch(path)
    assert used.of(path) >= began
    used.forget(path)
    assert used.of(path) == began
