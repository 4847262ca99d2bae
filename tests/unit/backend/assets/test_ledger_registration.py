"""What is stored stays unless the ledger has definitely refused it (rule 3)."""

from collections.abc import Callable

import grpc
import pytest

from backend.assets.ledger_registration import registered
from backend.ports.ledger.errors import LedgerError


def _raising(error: Exception) -> Callable[[], str]:
    def call() -> str:
        raise error

    return call


REFUSED = LedgerError(grpc.StatusCode.INVALID_ARGUMENT, "OE0101: no")
UNREACHABLE = LedgerError(grpc.StatusCode.UNAVAILABLE, "gone")
UNKNOWN_KEY = LedgerError(grpc.StatusCode.NOT_FOUND, "OE0002: no")
OURS = LedgerError(grpc.StatusCode.ALREADY_EXISTS, "OE0006: exists", repeated=True)


def _outcome(register: Callable[[], str], stored: Callable[[], str]) -> tuple[object, bool]:
    """(the answer or the error raised, whether the files were removed)."""
    removed: list[bool] = []
    try:
        return registered(register, stored, lambda: removed.append(True)), bool(removed)
    except Exception as error:
        return error, bool(removed)


@pytest.mark.parametrize(
    ("register", "stored", "outcome", "removed"),
    [
        (lambda: "new", _raising(AssertionError()), "new", False),
        (_raising(REFUSED), _raising(AssertionError()), REFUSED, True),
        (_raising(UNREACHABLE), lambda: "stored", "stored", False),
        (_raising(UNREACHABLE), _raising(UNKNOWN_KEY), UNREACHABLE, False),
        (_raising(UNREACHABLE), _raising(UNREACHABLE), UNREACHABLE, False),
        (_raising(OURS), lambda: "stored", "stored", False),
    ],
)
def test_outcomes(
    register: Callable[[], str], stored: Callable[[], str], outcome: object, removed: bool
) -> None:
    assert _outcome(register, stored) == (outcome, removed)
