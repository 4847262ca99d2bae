"""When stored things were last used, remembered by the process that hands them out."""

import threading
import time
from pathlib import Path


class LastUse:
    """Moments by path (monotonic seconds). What nobody used since this process began counts as used then."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._moments: dict[str, float] = {}
        self._lock = threading.Lock()

    def touch(self, *paths: Path | str) -> None:
        """Note a use; cheap enough for the hot path."""
        now = time.monotonic()
        with self._lock:
            for path in paths:
                self._moments[str(path)] = now

    def of(self, path: Path) -> float:
        with self._lock:
            return self._moments.get(str(path), self._began)

    def since(self, path: Path, moment: float) -> bool:
        """Whether it was used after this moment."""
        with self._lock:
            return self._moments.get(str(path), moment) > moment

    def forget(self, path: Path) -> None:
        with self._lock:
            self._moments.pop(str(path), None)
