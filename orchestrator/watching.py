"""Files that may change while the ledger runs: looked at every second, taken over when their content differs.

The content decides, not the time of change: mounted ConfigMaps and Secrets are swapped by symbolic links.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

log = structlog.get_logger(__name__)

LOOK_S = 1.0


@dataclass(slots=True)
class Watched:
    """`read` gives the content, `take` puts it to use; either may raise OSError or ValueError, and what is in
    use then stays."""

    name: str
    read: Callable[[], Any]
    take: Callable[[Any], None]
    seen: Any = None
    failure: str = ""

    def look(self) -> None:
        """Take the content over if it is another one than at the last look."""
        try:
            content = self.read()
            if content == self.seen:
                return
            self.seen = content
            self.take(content)
        except (OSError, ValueError) as error:
            self._failed(str(error))
        else:
            self.failure = ""
            log.info("file_taken_over", file=self.name)

    def _failed(self, reason: str) -> None:
        """Said once, not at every look."""
        if reason != self.failure:
            log.error("file_not_taken_over", file=self.name, reason=reason)
        self.failure = reason


class Watcher:
    """A thread that looks at all of them."""

    def __init__(self, watched: list[Watched], every_s: float = LOOK_S) -> None:
        self._watched = watched
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            for watched in self._watched:
                watched.look()
