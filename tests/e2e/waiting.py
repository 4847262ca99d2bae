"""Wait for a condition with a deadline: no test sleeps for a time that somebody guessed."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
INTERVAL_S = 0.05


def wait_for(condition: Callable[[], T], what: str, timeout_s: float = 60.0) -> T:
    """The first true answer of `condition`.

    Raises:
        AssertionError: none within `timeout_s`; says what was waited for and the last answer.
    """
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s, last {answer!r}"
        time.sleep(INTERVAL_S)
    return answer
