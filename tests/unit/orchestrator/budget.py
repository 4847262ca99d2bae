"""How long Hypothesis looks: the same few examples in every run, or many new ones on request."""

import os

from hypothesis import HealthCheck, settings

EFFORT = "SUBSTRA_RAY_TEST_EFFORT"
"""Environment variable: examples of all budgets times this number, and random ones instead of the same."""


def budget(examples: int) -> settings:
    """Settings for a test that takes `examples` in `make test`."""
    effort = int(os.environ.get(EFFORT, "1"))
    return settings(
        max_examples=examples * effort,
        derandomize=effort == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
