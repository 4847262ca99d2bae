"""What a ledger's refusals mean, ours and the original's (orchestrator.md 2.6-2.8)."""

import grpc
import pytest

from backend.ports.ledger.errors import LedgerError

C = grpc.StatusCode
DUPLICATE = 'ERROR: duplicate key value violates unique constraint "models_pkey" (SQLSTATE 23505)'
LOST_RACE = "ERROR: could not serialize access due to concurrent update (SQLSTATE 40001)"
ABORTED = "ERROR: current transaction is aborted, commands ignored (SQLSTATE 25P02)"
TOO_LARGE = "Received message larger than max (5000000 vs. 4194304)"
DONE_TWICE = "event transitionDone inappropriate in current state STATUS_DONE"


@pytest.mark.parametrize(
    ("code", "text", "http"),
    [
        (C.NOT_FOUND, 'OE0002: function with key "x" not found', 404),
        (C.ALREADY_EXISTS, "OE0006: exists", 409),
        (C.PERMISSION_DENIED, "OE0102: no", 403),
        (C.FAILED_PRECONDITION, DONE_TWICE, 400),
        (C.UNKNOWN, DONE_TWICE, 400),
        (C.UNKNOWN, "OE0108: cannot disable output", 400),
        (C.UNKNOWN, "OE0109: compute plan already terminated", 400),
        (C.UNKNOWN, DUPLICATE, 409),
        (C.UNKNOWN, "violates foreign key constraint (SQLSTATE 23503)", 400),
        (C.UNKNOWN, "value too long for type character varying(100) (SQLSTATE 22001)", 400),
        (C.UNKNOWN, LOST_RACE, 503),
        (C.UNKNOWN, ABORTED, 503),
        (C.UNKNOWN, "ERROR: disk full (SQLSTATE 53100)", 500),
        (C.UNKNOWN, "something else", 500),
        (C.RESOURCE_EXHAUSTED, TOO_LARGE, 413),
        (C.RESOURCE_EXHAUSTED, "too many requests wait for this channel", 503),
        (C.UNAVAILABLE, "gone", 503),
        (C.DEADLINE_EXCEEDED, "late", 504),
        (C.INTERNAL, "OE0007: no", 500),
    ],
)
def test_http_status_of_a_refusal(code: C, text: str, http: int) -> None:
    assert LedgerError(code, text).status_code == http


@pytest.mark.parametrize(
    ("code", "text", "passing", "undecided"),
    [
        (C.UNAVAILABLE, "gone", True, True),
        (C.DEADLINE_EXCEEDED, "late", False, True),
        (C.RESOURCE_EXHAUSTED, "too many requests", True, True),
        (C.RESOURCE_EXHAUSTED, TOO_LARGE, False, False),
        (C.UNKNOWN, LOST_RACE, True, True),
        (C.UNKNOWN, ABORTED, True, True),
        (C.UNKNOWN, DONE_TWICE, False, False),
        (C.UNKNOWN, DUPLICATE, False, False),
        (C.UNKNOWN, "OE0109: compute plan already terminated", False, False),
        (C.PERMISSION_DENIED, "organization is unknown", False, False),
    ],
)
def test_only_what_may_pass_is_repeated(code: C, text: str, passing: bool, undecided: bool) -> None:
    error = LedgerError(code, text)
    assert error.passing is passing
    assert error.outcome_unknown is undecided


@pytest.mark.parametrize(
    ("code", "text", "exists"),
    [
        (C.ALREADY_EXISTS, "OE0006: model exists", True),
        (C.UNKNOWN, "OE0006: model exists", True),
        (C.UNKNOWN, DUPLICATE, True),
        (C.UNKNOWN, LOST_RACE, False),
        (C.INTERNAL, DUPLICATE, False),
    ],
)
def test_a_conflict_is_known_in_all_its_words(code: C, text: str, exists: bool) -> None:
    assert LedgerError(code, text).already_exists is exists
