"""What the API server, or the way to it, can answer instead of what was asked: a small tree of errors."""

from collections.abc import Mapping
from typing import Any


class KubeError(Exception):
    """Any failure of a call. `status` is the HTTP status, 0 when there was no answer.

    `reason` is the server's machine-readable word ("NotFound", "AlreadyExists", …), `details` its `details`.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.details = dict(details or {})


class NotFound(KubeError):
    """There is no such object (or no such kind: KubeRay is not installed)."""


class Conflict(KubeError):
    """The object is not any more what the caller decided on, or another manager owns a field: read it again."""


class AlreadyExists(Conflict):
    """`create` of a name that is taken."""


class Invalid(KubeError):
    """The server refuses what was sent; sending it again never helps."""


class Forbidden(KubeError):
    """We are not known, or our role does not allow it."""


class Gone(KubeError):
    """The resource version is too old for the server: list again. `Resource.watch` does so itself."""


class Unavailable(KubeError):
    """No answer, or the server is overloaded or broken: the same call may succeed later.

    For a call that changes something the outcome is unknown: read before repeating.
    """


class Deadline(KubeError):
    """What was waited for did not come in time."""


_BY_STATUS: dict[int, type[KubeError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    405: Invalid,
    409: Conflict,
    410: Gone,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: Unavailable,
}


def error_of(status: int, body: Mapping[str, Any]) -> KubeError:
    """The error that a `Status` object (or an answer without one, `body` empty) stands for."""
    reason = str(body.get("reason") or "")
    message = str(body.get("message") or f"the API server answered {status}")
    if reason == "AlreadyExists":
        kind: type[KubeError] = AlreadyExists
    elif reason in ("Expired", "Gone"):
        kind = Gone
    else:
        kind = _BY_STATUS.get(status, Unavailable if status >= 500 else KubeError)
    details = body.get("details")
    return kind(
        message,
        status=status,
        reason=reason,
        details=details if isinstance(details, Mapping) else None,
    )
