"""The clock of a channel's writer: dates follow the order of events."""

from datetime import UTC, datetime, timedelta

SKEW = timedelta(minutes=1)
"""By how much the clocks of two machines may differ. A date farther ahead was a fault of a clock's own."""


class Clock:
    """The wall clock, never backwards."""

    def __init__(self) -> None:
        self._last = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        self._last = max(self._last, datetime.now(UTC))
        return self._last

    def go_on_after(self, moment: datetime | None) -> None:
        """Take over from an earlier writer, whose clock may have been ahead; `moment` is its last date."""
        if moment is not None and moment - datetime.now(UTC) < SKEW:
            self._last = max(self._last, moment)
