"""JSON objects against a schema, with the contract's answer for what does not fit (rest-api.md 2)."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from backend.kit.errors import BadRequest, Invalid
from backend.kit.exception_answers import field_messages

S = TypeVar("S", bound=BaseModel)


def validated(schema: type[S], document: Mapping[str, Any]) -> S:
    """`document` as an instance of `schema`.

    Raises:
        Invalid: 400 with an object of lists, by field.
    """
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        raise Invalid(field_messages(error.errors(include_url=False))) from None


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Keys with two underscores are reserved.

    Raises:
        BadRequest: 400, the original's text.
    """
    if any("__" in key for key in metadata):
        raise BadRequest(
            '"__" cannot be used in a metadata key, please use simple underscore instead'
        )
