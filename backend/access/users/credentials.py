"""A user name and a password as a request gives them."""

from dataclasses import dataclass, field
from typing import Any, Self

from backend.kit.errors import Invalid

REQUIRED = "This field is required."
NULL = "This field may not be null."
BLANK = "This field may not be blank."
MOST = 4096


@dataclass(frozen=True, slots=True)
class Credentials:
    """What somebody claims. `client` is the address from which the claim came."""

    username: str
    password: str = field(repr=False)
    client: str

    @classmethod
    def of(cls, fields: dict[str, Any], client: str) -> Self:
        """Read a request's fields.

        Raises:
            Invalid: one is missing, null, empty, too long or no text (400, every field's message).
        """
        errors: dict[str, list[str]] = {}
        for name in ("username", "password"):
            if message := _wrong(fields, name):
                errors[name] = [message]
        if errors:
            raise Invalid(errors)
        return cls(fields["username"], fields["password"], client)


def _wrong(fields: dict[str, Any], name: str) -> str | None:
    if name not in fields:
        return REQUIRED
    value = fields[name]
    if value is None:
        return NULL
    if not isinstance(value, str):
        return "Not a valid string."
    if not value:
        return BLANK
    return f"Ensure this field has no more than {MOST} characters." if len(value) > MOST else None
