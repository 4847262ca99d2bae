"""A large file in several ranges at once, each of which goes on where a cut left it.

Beside the part lies `<part>.ranges`: JSON, for each range its next missing byte and its end. It is written
after the bytes that it counts, so that a killed process loses a few pieces and never believes in bytes that it
has not got.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

CONNECTIONS = 4
PARALLEL_FROM = 64 << 20
"""Bytes; less comes as fast over one connection."""
NOTED = 8 << 20
"""Bytes after which progress is noted."""


@dataclass(slots=True)
class Span:
    """Bytes from `next` up to, and not with, `end` are missing."""

    next: int
    end: int

    @property
    def missing(self) -> int:
        return self.end - self.next


class Ranges:
    """The ranges of one part. `fill` gets them all; `received` says how much is there."""

    def __init__(self, part: Path, spans: list[Span], total: int) -> None:
        self._part = part
        self._spans = spans
        self._total = total
        self._lock = threading.Lock()
        self._unnoted = 0

    @classmethod
    def begin(cls, part: Path, have: int, total: int) -> Self:
        """Divide what is missing of a file of `total` bytes, of which the first `have` are in the part."""
        step = -(-(total - have) // CONNECTIONS)
        starts = range(have, total, step)
        found = cls(part, [Span(start, min(start + step, total)) for start in starts], total)
        with part.open("ab") as file:
            file.truncate(total)
        found._note()
        return found

    @classmethod
    def open(cls, part: Path) -> Self | None:
        """Those that an earlier call began; None when there are none, or they make no sense."""
        try:
            content = json.loads(_notes(part).read_text("ascii"))
            spans = [Span(int(next_), int(end)) for next_, end in content["missing"]]
            total = int(content["total"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return cls(part, spans, total) if part.exists() else None

    @property
    def received(self) -> int:
        return self._total - sum(span.missing for span in self._spans)

    def fill(self, read: Callable[[int, int], Iterator[bytes]]) -> None:
        """Get all that is missing; `read` gives the bytes from one position up to another.

        Raises:
            What `read` raised for one range, once the others have come as far as they can: what is on its way
            to them when one connection is cut would only have to be sent again.
        """
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CLOEXEC)

        def one(span: Span) -> None:
            for data in read(span.next, span.end):
                os.pwrite(descriptor, data, span.next)
                self._count(span, len(data))

        try:
            with ThreadPoolExecutor(CONNECTIONS, "range") as pool:
                waiting = [pool.submit(one, span) for span in self._spans if span.missing]
            for done in waiting:
                done.result()
        finally:
            os.close(descriptor)
            self._note()

    def forget(self) -> None:
        """All of it is there: the part is an ordinary file."""
        _notes(self._part).unlink(missing_ok=True)

    def _count(self, span: Span, size: int) -> None:
        with self._lock:
            span.next += size
            self._unnoted += size
            due = self._unnoted >= NOTED
        if due:
            self._note()

    def _note(self) -> None:
        with self._lock:
            self._unnoted = 0
            content = {"total": self._total, "missing": [[s.next, s.end] for s in self._spans]}
            beside = _notes(self._part).with_suffix(".new")
            beside.write_text(json.dumps(content), "ascii")
            beside.replace(_notes(self._part))


def received(part: Path) -> int:
    """How many bytes of a part have come."""
    ranges = Ranges.open(part)
    if ranges is not None:
        return ranges.received
    return part.stat().st_size if part.exists() else 0


def discard(part: Path) -> None:
    _notes(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".ranges")
