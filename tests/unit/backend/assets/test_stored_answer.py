"""Range headers, decided on their text and the file's size."""

import pytest

from backend.assets.stored_answer import asked_range


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-9", 100, (0, 9)),
        ("bytes=90-", 100, (90, 99)),
        ("bytes=90-500", 100, (90, 99)),
        ("bytes=-10", 100, (90, 99)),
        ("bytes=-500", 100, (0, 99)),
        ("bytes = 0 - 9", 100, (0, 9)),
        ("bytes=100-", 100, (100, 99)),  # nothing there: not satisfiable
        ("bytes=0-", 0, (0, -1)),
        ("bytes=9-0", 100, None),
        ("bytes=-", 100, None),
        ("bytes=0-1,5-6", 100, None),
        ("lines=0-9", 100, None),
        ("bytes=a-b", 100, None),
    ],
)
def test_range_is_kept_within_the_file(
    header: str, size: int, expected: tuple[int, int] | None
) -> None:
    assert asked_range(header, size) == expected
