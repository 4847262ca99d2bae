"""The one clock: aware UTC datetimes, and their form on the wire."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)


def wire(moment: datetime | None) -> str | None:
    """ISO-8601 with microseconds and `Z`; the fraction is left out when it is zero (rest-api.md 1.4)."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
