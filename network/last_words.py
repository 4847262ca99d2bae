"""What a process said before it ended, out of its log: JSON lines become words for a terminal."""

import json
from pathlib import Path

_BYTES, _LINES, _LONGEST = 20_000, 6, 500
_SAID = ("event", "reason", "error")


def last_lines(logs: Path, names: list[str]) -> str:
    """The last lines of these parts' logs."""
    lines = []
    for name in names:
        path = logs / f"{name}.log"
        if path.exists():
            lines += [f"--- {path}", *(said for said, _ in _tail(path)[-_LINES:])]
    return "\n".join(lines)


def reason_of(logs: Path, name: str) -> str:
    """The last `reason` that a part gave; else its last line."""
    lines = _tail(logs / f"{name}.log")
    reasons = [reason for _, reason in lines if reason]
    return reasons[-1] if reasons else (lines[-1][0] if lines else "it says nothing")


def _tail(path: Path) -> list[tuple[str, str]]:
    """Each line in words, and its `reason`."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [_in_words(line) for line in text.splitlines() if line.strip()]


def _in_words(line: str) -> tuple[str, str]:
    try:
        content = json.loads(line)
    except ValueError:
        content = None
    if not isinstance(content, dict) or "event" not in content:
        return line[-_LONGEST:], ""
    words = [str(content[name]).strip() for name in _SAID if content.get(name)]
    words[0] = words[0].splitlines()[-1]  # of a traceback what it comes to
    return ": ".join(words)[-_LONGEST:], str(content.get("reason") or "")
