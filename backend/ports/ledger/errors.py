"""What the ledger's refusals mean: gRPC codes to HTTP (orchestrator.md 2.8), and which outcomes are unknown."""

import re
from collections.abc import Iterable
from typing import Any, Self

import grpc

from backend.kit.errors import ApiError

HTTP_OF: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.CANCELLED: 408,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}

# What the original ledger leaves to PostgreSQL reaches a client as UNKNOWN with the database's own words.
_DATABASE = re.compile(r"SQLSTATE (\w{5})")
_WORDS = {
    "duplicate key value violates unique constraint": "23505",
    "could not serialize access": "40001",
    "current transaction is aborted": "25P02",
}
_HTTP_OF_STATE = {"23505": 409, "23503": 400, "22001": 400, "22P02": 400}
_LOST_RACE = {"40001", "25P02", "40P01"}
RETRY_AFTER = "grpc-retry-pushback-ms"
_TOO_LARGE = "larger than max"

UNKNOWN_OUTCOME = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}

_ILLEGAL = re.compile(r"(?:event )?(\w+) inappropriate in current state (\w+)")
# An original ledger answers these with UNKNOWN; a user should read a refusal, not a crash (rest-api.md 11.4).
_REFUSED_AS_UNKNOWN = ("OE0108", "OE0109", "OE0110")


class LedgerError(ApiError):
    """The ledger refused, or could not be asked.

    `code` is the gRPC code, `details` the ledger's own text (`OE0006: …`). `repeated` is True when an earlier
    attempt of the same call had no answer and may have been carried out (rule 5). `retry_after_s` is what an
    overloaded ledger asks for.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        details: str,
        *,
        repeated: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.repeated = repeated
        self.retry_after_s = retry_after_s

    @classmethod
    def of(cls, call: grpc.Call, *, repeated: bool = False) -> Self:
        """What a failed call says."""
        return cls(
            call.code(),
            call.details() or "",
            repeated=repeated,
            retry_after_s=_asked_pause_s(call.trailing_metadata()),
        )

    @property
    def status_code(self) -> int:
        if self.illegal_transition or self.details.startswith(_REFUSED_AS_UNKNOWN):
            return 400
        if self.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            # An overload passes, and clients repeat 503; a message that is too large stays so.
            return 413 if _TOO_LARGE in self.details else 503
        if self.code is grpc.StatusCode.UNKNOWN and self.database_state:
            return _HTTP_OF_STATE.get(self.database_state, 503 if self.passing else 500)
        return HTTP_OF.get(self.code, 500)

    @property
    def passing(self) -> bool:
        """True when the same call may succeed in a moment, and does no harm if it was carried out."""
        if self.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return _TOO_LARGE not in self.details
        if self.code is grpc.StatusCode.UNKNOWN:
            return self.database_state in _LOST_RACE
        return self.code is grpc.StatusCode.UNAVAILABLE

    @property
    def database_state(self) -> str:
        """PostgreSQL's code for what went wrong, where an original ledger passes it on; else empty."""
        if match := _DATABASE.search(self.details):
            return match.group(1)
        return next((state for words, state in _WORDS.items() if words in self.details), "")

    @property
    def outcome_unknown(self) -> bool:
        """True when nothing is decided yet (rule 3): ask by key, then finish or repeat."""
        return self.code in UNKNOWN_OUTCOME or self.passing

    @property
    def maybe_ours(self) -> bool:
        """True when what was to be registered may stand in the ledger because of this very call (rule 5)."""
        return self.outcome_unknown or (self.already_exists and self.repeated)

    @property
    def already_exists(self) -> bool:
        """Also where an original ledger noticed it only in its database: a second model of an output, say."""
        if self.code is grpc.StatusCode.ALREADY_EXISTS or self.details.startswith("OE0006"):
            return True
        return self.code is grpc.StatusCode.UNKNOWN and self.database_state == "23505"

    @property
    def not_found(self) -> bool:
        return self.code is grpc.StatusCode.NOT_FOUND

    @property
    def illegal_transition(self) -> tuple[str, str] | None:
        """(transition, current status) of a refused state change, e.g. ("transitionDone", "STATUS_DONE")."""
        match = _ILLEGAL.search(self.details)
        return (match.group(1), match.group(2)) if match else None


def _asked_pause_s(metadata: Iterable[Any] | None) -> float | None:
    """The pause that an overloaded ledger asks for; None when it asks for none."""
    for name, value in metadata or ():
        if name == RETRY_AFTER and str(value).isdigit():
            return int(value) / 1000
    return None
