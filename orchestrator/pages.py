"""Pages: a token is where the last page ended, so a page costs the same at every depth (orchestrator.md 3).

A page ends early when it would grow near the 4 MiB that clients accept by default.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message

from orchestrator.errors import Malformed
from orchestrator.validation import is_key

PAGE = 50
LARGEST = 10_000
BYTES = 3_500_000

M = TypeVar("M", bound=Message)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = Sequence[Any]
Place = tuple[datetime, str, str]
"""Date, key, and what else the order needs (empty when nothing)."""


def size(asked: int) -> int:
    """Rows of a page: the asked number, 50 for none, bounded."""
    return min(asked or PAGE, LARGEST)


def token(created: datetime, *parts: str) -> str:
    """A place in an order that starts with a date."""
    micros = (created - _EPOCH) // timedelta(microseconds=1)
    return "~".join([str(micros), *parts])


def place(page_token: str) -> Place | None:
    """The place that a token names, None for the start.

    Raises:
        Malformed: it is no token of ours.
    """
    if not page_token:
        return None
    micros, _, rest = page_token.partition("~")
    key, _, name = rest.partition("~")
    if not (micros.isascii() and micros.isdigit() and len(micros) < 17 and is_key(key)):
        raise _malformed(page_token)
    if "\x00" in name:
        raise _malformed(page_token)
    return _EPOCH + timedelta(microseconds=int(micros)), key, name


def number(page_token: str) -> int | None:
    """The position that an event page's token names."""
    if not page_token:
        return None
    if not (page_token.isascii() and page_token.isdigit() and len(page_token) < 19):
        raise _malformed(page_token)
    return int(page_token)


def _malformed(page_token: str) -> Malformed:
    return Malformed(f'invalid page token: parsing "{page_token[:100]}": invalid syntax')


def cut(
    rows: Sequence[Row], asked: int, build: Callable[[Row], M], name: Callable[[Row], str]
) -> tuple[list[M], str]:
    """Messages of one page, and the token of the next when `rows` holds more than `asked`."""
    messages: list[M] = []
    weight = 0
    for row in rows[:asked]:
        message = build(row)
        weight += message.ByteSize()
        if messages and weight > BYTES:
            break
        messages.append(message)
    more = len(messages) < len(rows)
    return messages, name(rows[len(messages) - 1]) if more and messages else ""


def conditions(parts: Iterable[tuple[str, Sequence[Any]] | None]) -> tuple[str, list[Any]]:
    """`a AND b` of those that are there, and their arguments."""
    texts: list[str] = []
    arguments: list[Any] = []
    for part in parts:
        if part is not None:
            texts.append(part[0])
            arguments.extend(part[1])
    return " AND ".join(texts), arguments
