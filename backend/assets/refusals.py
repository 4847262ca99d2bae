"""Refusals of uploads, in the shapes of rest-api.md section 2."""

from typing import Any, ClassVar

from backend.assets.uploads import Upload, UploadedFile
from backend.kit.errors import ApiError, BadRequest

NO_FILE = "Can't get hash of file None: file is 'None'"
EMPTY = "The submitted file is empty."
NULL = "This field may not be null."
TOO_LARGE = "File too large"


class UploadRefused(ApiError):
    """A function or data manager that is not accepted: 400, before anything was computed of it.

    The detail is a list of texts, or of objects `{field: [texts]}`.
    """

    status: ClassVar[int] = 400

    def __init__(self, problem: str | dict[str, list[str]]) -> None:
        super().__init__([problem])

    def body(self) -> Any:
        return {"detail": self.detail, "key": "(not computed)"}


class SampleRefused(BadRequest):
    """A data sample that is not accepted: 400, the original's text with the reason inside."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"[ErrorDetail(string={reason!r}, code='invalid')]")


def required_file(
    upload: Upload, part: str, *, missing: str | dict[str, list[str]]
) -> UploadedFile:
    """The file of a part.

    Raises:
        UploadRefused: it is missing or empty, or a file of the upload is too large (400).
    """
    if upload.too_large:  # the part asked for may stand behind
        raise UploadRefused(TOO_LARGE)
    file = upload.files.get(part)
    if file is None:
        raise UploadRefused(missing)
    if file.size == 0:
        raise UploadRefused({part: [EMPTY]})
    return file
