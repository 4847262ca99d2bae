"""A performance, read from a function's output file."""

import json
import math

LONGEST = 1 << 20
"""Bytes of a performance's file."""
_LARGEST = 3.4028234663852886e38  # of 32-bit floating point numbers


class NotAPerformance(Exception):
    """What the function wrote is none; the text is for its user."""


def performance(identifier: str, content: bytes) -> float | str:
    """`all` as a number; "NaN" travels as text, for JSON has no word for it.

    What the ledger's 32-bit numbers cannot hold is the function's fault, infinity too: nobody else can mend it.

    Raises:
        NotAPerformance
    """
    try:
        if len(content) > LONGEST:
            raise ValueError
        value = float(json.loads(content)["all"])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise NotAPerformance(
            f"output {identifier!r} is not JSON with a number under the key 'all'"
        ) from None
    if abs(value) > _LARGEST:
        raise NotAPerformance(f"output {identifier!r} is too large for a performance: {value}")
    return "NaN" if math.isnan(value) else value
