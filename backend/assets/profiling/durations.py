"""Durations as the internal profiling routes send them: `[D ]HH:MM:SS[.ffffff]`."""

import re

_FORM = re.compile(
    r"^(?:(?P<days>\d{1,6}) )?(?P<hours>\d{1,2}):(?P<minutes>\d{1,2}):(?P<seconds>\d{1,2})"
    r"(?:\.(?P<fraction>\d{1,6}))?$",
    re.ASCII,
)


def microseconds(text: str) -> int | None:
    """The duration in microseconds; None when the text has another form.

    >>> microseconds("0:00:01.5")
    1500000
    """
    match = _FORM.match(text.strip())
    if match is None:
        return None
    part = match.groupdict(default="0")
    hours = int(part["days"]) * 24 + int(part["hours"])
    seconds = (hours * 60 + int(part["minutes"])) * 60 + int(part["seconds"])
    return seconds * 1_000_000 + int(part["fraction"].ljust(6, "0"))
