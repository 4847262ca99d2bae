"""The log of one build: each step, the programs' own words, without this machine's paths, of limited length."""

from pathlib import Path
from types import TracebackType
from typing import Self

_MOST_BYTES = 8 << 20
_LONGEST_LINE = 64 << 10


class BuildLog:
    """Append-only text file, UTF-8 whatever programs write.

    `hide(path, shown)` makes later output show image paths.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=0)
        self._hidden: list[tuple[bytes, bytes]] = []
        self._written = 0
        self._partial = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()
        self._file.close()

    def hide(self, path: Path, shown: str) -> None:
        self._hidden.append((str(path).encode(), shown.encode()))

    def line(self, text: str) -> None:
        """A line of the builder's own; always written."""
        self.flush()
        self._file.write(self._clean(text.encode("utf-8", "replace")) + b"\n")

    def output(self, data: bytes) -> None:
        """Output of a program, in whatever pieces it comes; what is too much is left out."""
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        for line in lines:
            self._put(line + b"\n")
        if len(self._partial) > _LONGEST_LINE:
            self.flush()

    def flush(self) -> None:
        """Write a last line that has no end."""
        if self._partial:
            self._put(self._partial + b"\n")
        self._partial = b""

    def _put(self, line: bytes) -> None:
        if self._written > _MOST_BYTES:
            return
        line = self._clean(line)
        self._written += len(line)
        if self._written > _MOST_BYTES:
            line = b"[the programs' output is too long: the rest is left out]\n"
        self._file.write(line)

    def _clean(self, line: bytes) -> bytes:
        for path, shown in self._hidden:
            line = line.replace(path, shown)
        return line.decode("utf-8", "replace").encode()
