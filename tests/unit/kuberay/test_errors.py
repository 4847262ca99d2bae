"""Which error an answer of the API server is."""

import pytest

from kuberay import errors


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "BadRequest", errors.Invalid),
        (401, "Unauthorized", errors.Forbidden),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.AlreadyExists),
        (410, "Expired", errors.Gone),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.Unavailable),
        (500, "InternalError", errors.Unavailable),
        (503, "", errors.Unavailable),
        (418, "", errors.KubeError),
    ],
)
def test_status_and_reason_tell_the_error(
    status: int, reason: str, kind: type[errors.KubeError]
) -> None:
    found = errors.error_of(status, {"reason": reason, "message": "because", "details": {"a": 1}})
    assert type(found) is kind
    assert (found.status, found.reason, found.message) == (status, reason, "because")
    assert found.details == {"a": 1}


def test_an_answer_without_a_body_still_says_its_status() -> None:
    found = errors.error_of(502, {})
    assert isinstance(found, errors.Unavailable)
    assert "502" in str(found)


def test_a_name_that_is_taken_is_a_conflict() -> None:
    assert issubclass(errors.AlreadyExists, errors.Conflict)
