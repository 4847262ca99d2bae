"""Errors that know their HTTP answer: raising one is all that a service does about HTTP.

Bodies and statuses come from rest-api.md section 2.
"""

from typing import Any, ClassVar


class ApiError(Exception):
    """A refusal with a status and a JSON body.

    `detail` is what stands under `detail` in the body; a subclass may shape another body.
    """

    status: ClassVar[int] = 500
    default: ClassVar[str] = "Internal error"

    def __init__(self, detail: Any = None, *, headers: dict[str, str] | None = None) -> None:
        self.detail = self.default if detail is None else detail
        self.headers = headers or {}
        super().__init__(str(self.detail))

    @property
    def status_code(self) -> int:
        return self.status

    def body(self) -> Any:
        return {"detail": self.detail}


class BadRequest(ApiError):
    """A business check failed: 400 `{"detail": text}`."""

    status = 400
    default = "Bad request"


class Invalid(ApiError):
    """Fields failed validation: 400 with an object (or list) of messages as the whole body."""

    status = 400

    def __init__(self, fields: Any) -> None:
        super().__init__(fields)

    def body(self) -> Any:
        return self.detail


class Unauthenticated(ApiError):
    status = 401
    default = "Authentication credentials were not provided."

    def __init__(self, detail: Any = None, *, challenge: str = "Token") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class PermissionDenied(ApiError):
    status = 403
    default = "You do not have permission to perform this action."


class NotFound(ApiError):
    """Unknown, or of another channel: the two look the same."""

    status = 404
    default = "Not found."

    @classmethod
    def of(cls, model: str) -> "NotFound":
        """The text for an unknown asset; `model` is a class name of rest-api.md section 2."""
        return cls(f"No {model} matches the given query.")


class Conflict(ApiError):
    status = 409
    default = "Conflict"


class Gone(ApiError):
    status = 410
    default = "Asset not available anymore"


class TooLarge(ApiError):
    status = 413
    default = "File too large"


class UnsupportedMediaType(ApiError):
    status = 415
    default = "Unsupported media type in request."


class NoBuilder(ApiError):
    status = 422
    default = "No builder available on this organization"


class Throttled(ApiError):
    status = 429

    def __init__(self, wait_s: int) -> None:
        super().__init__(
            f"Request was throttled. Expected available in {wait_s} seconds.",
            headers={"Retry-After": str(wait_s)},
        )


class Overloaded(ApiError):
    """503 with Retry-After: the SDK repeats the call by itself for up to 300 s."""

    status = 503
    default = "Service unavailable"


class PeerUnreachable(ApiError):
    """The organization that holds a file does not answer (rule 44)."""

    status = 504
    default = "The organization that holds this file cannot be reached"
