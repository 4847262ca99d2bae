"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable

PATIENCE_S = 15.0
PAUSE_S = 0.05


def until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Return once it holds.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s: {condition}")
        time.sleep(PAUSE_S)
