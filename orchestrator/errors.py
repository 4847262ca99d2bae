"""Refusals: what the ledger answers in place of an asset, text and gRPC code (orchestrator.md 2.6).

Where the original says UNKNOWN for a refusal that is definite, the text is kept and a code that stops
pointless retries is used instead (orchestrator.md 14.1).
"""

from typing import ClassVar

import grpc

TEXT_BYTES = 2_000
"""Of a status text: it travels as a header, three bytes for each that is not ASCII, and clients end calls whose
headers pass 8 KiB."""


class Refusal(Exception):
    """A request that is not carried out. `str(refusal)` is the status text on the wire, cut to TEXT_BYTES."""

    code: ClassVar[str] = ""
    status: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(self, message: str) -> None:
        super().__init__(_short(f"{self.code}: {message}" if self.code else message))


def _short(text: str) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= TEXT_BYTES:
        return text
    return data[:TEXT_BYTES].decode("utf-8", "ignore") + "…"


class NotFound(Refusal):
    code = "OE0002"
    status = grpc.StatusCode.NOT_FOUND

    def __init__(self, resource: str, key: str) -> None:
        super().__init__(f'{resource} with key "{key}" not found')


class BadRequest(Refusal):
    """The request cannot be fulfilled in this state."""

    code = "OE0003"
    status = grpc.StatusCode.FAILED_PRECONDITION


class Conflict(Refusal):
    code = "OE0006"
    status = grpc.StatusCode.ALREADY_EXISTS

    def __init__(self, resource: str, key: str) -> None:
        super().__init__(f'{resource} with key "{key}" already exists')


class Internal(Refusal):
    code = "OE0007"
    status = grpc.StatusCode.INTERNAL


class Unimplemented(Refusal):
    code = "OE0010"
    status = grpc.StatusCode.UNIMPLEMENTED


class Invalid(Refusal):
    """A validation failed; the message says which."""

    code = "OE0101"
    status = grpc.StatusCode.INVALID_ARGUMENT


class Denied(Refusal):
    code = "OE0102"
    status = grpc.StatusCode.PERMISSION_DENIED


class UnknownOutput(Refusal):
    """The task has no output of that name."""

    code = "OE0106"
    status = grpc.StatusCode.INVALID_ARGUMENT


class WrongOutputKind(Refusal):
    code = "OE0107"
    status = grpc.StatusCode.INVALID_ARGUMENT


class CannotDisable(Refusal):
    code = "OE0108"
    status = grpc.StatusCode.FAILED_PRECONDITION


class PlanTerminated(Refusal):
    code = "OE0109"
    status = grpc.StatusCode.FAILED_PRECONDITION


class IllegalTransition(Refusal):
    """The state machine has no such edge. Workers read the text (orchestrator.md 2.7)."""

    status = grpc.StatusCode.FAILED_PRECONDITION

    def __init__(self, transition: str, state: str) -> None:
        super().__init__(f"event {transition} inappropriate in current state {state}")


class Malformed(Refusal):
    """A key, page token or address that cannot be one; the original leaves it to PostgreSQL."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class ChannelHeader(Refusal):
    """The header `channel` is missing or ambiguous."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class ChannelRefused(Refusal):
    """The caller is no member of the channel that it names."""

    status = grpc.StatusCode.PERMISSION_DENIED


class UnknownEvent(Refusal):
    """A stream was asked to start after an event that the channel does not have."""

    status = grpc.StatusCode.NOT_FOUND

    def __init__(self, event: str) -> None:
        super().__init__(f'no rows: the channel has no event "{event}"')


class Unavailable(Refusal):
    """Not now: nothing was changed, or it is not known whether something was. The client may repeat."""

    status = grpc.StatusCode.UNAVAILABLE


class Overloaded(Refusal):
    """More requests wait than the ledger accepts. Nothing was changed; the client may repeat in a while."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class Expired(Refusal):
    """The client's deadline passed before the request's turn came. Nothing was changed."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED

    def __init__(self) -> None:
        super().__init__("the deadline passed before the request was carried out")
