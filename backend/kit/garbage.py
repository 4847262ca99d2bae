"""Python's collector in processes that answer requests.

A full collection walks every object of the process while no thread answers: with all modules loaded that is
0.1 s, once in a thousand pages, and it was the longest thing that a request waited for. What is there when the
process begins to serve stays for good, so it is not looked at again; a collection then takes a millisecond.
"""

import gc

YOUNG = (
    10_000  # objects between two collections: a page of a hundred tasks makes about two thousand
)
THRESHOLDS = (YOUNG, 20, 25)


def settle() -> None:
    """Called once, when all is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
