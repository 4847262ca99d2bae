"""What the ledger's refusals mean: gRPC codes to HTTP (orchestrator.md 2.8), and which outcomes are unknown."""

import re

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

UNKNOWN_OUTCOME = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}

_ILLEGAL = re.compile(r"(?:event )?(\w+) inappropriate in current state (\w+)")
# An original ledger answers these with UNKNOWN; a user should read a refusal, not a crash (rest-api.md 11.4).
_REFUSED_AS_UNKNOWN = ("OE0108", "OE0109", "OE0110")


class LedgerError(ApiError):
    """The ledger refused, or could not be asked.

    `code` is the gRPC code, `details` the ledger's own text (`OE0006: …`). `repeated` is True when an earlier
    attempt of the same call had no answer and may have been carried out (rule 5).
    """

    def __init__(self, code: grpc.StatusCode, details: str, *, repeated: bool = False) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.repeated = repeated

    @property
    def status_code(self) -> int:
        if self.illegal_transition or self.details.startswith(_REFUSED_AS_UNKNOWN):
            return 400
        return HTTP_OF.get(self.code, 500)

    @property
    def outcome_unknown(self) -> bool:
        """True when the call may have been carried out (rule 3): ask by key before deciding."""
        return self.code in UNKNOWN_OUTCOME

    @property
    def maybe_ours(self) -> bool:
        """True when what was to be registered may stand in the ledger because of this very call (rule 5)."""
        return self.outcome_unknown or (self.already_exists and self.repeated)

    @property
    def already_exists(self) -> bool:
        return self.code is grpc.StatusCode.ALREADY_EXISTS or self.details.startswith("OE0006")

    @property
    def not_found(self) -> bool:
        return self.code is grpc.StatusCode.NOT_FOUND

    @property
    def illegal_transition(self) -> tuple[str, str] | None:
        """(transition, current status) of a refused state change, e.g. ("transitionDone", "STATUS_DONE")."""
        match = _ILLEGAL.search(self.details)
        return (match.group(1), match.group(2)) if match else None
