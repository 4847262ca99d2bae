"""Keys in paths: dashed or 32 hex digits (rest-api.md 1.1)."""

from uuid import UUID

from backend.kit.errors import BadRequest, NotFound


def asset_key(key: str) -> UUID:
    """The key of a detail route.

    Raises:
        NotFound: what is no key names no asset (404 "Not found.").
    """
    try:
        return UUID(key)
    except ValueError:
        raise NotFound from None


def checked_key(key: str) -> UUID:
    """The key of a download or of a list below a plan.

    Raises:
        BadRequest: `key is not a valid UUID: "abc"` (400).
    """
    try:
        return UUID(key)
    except ValueError:
        raise BadRequest(f'key is not a valid UUID: "{key}"') from None
