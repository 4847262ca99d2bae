"""Copies of remote files on this machine, for whoever needs a path: made once, whole or not there."""

import hashlib
import threading
import weakref
from collections.abc import Callable
from pathlib import Path


class LocalCopies:
    """A folder of copies, hidden while unfinished. Whoever owns it removes old ones (`compute.bounds`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._guard = threading.Lock()
        self._locks: weakref.WeakValueDictionary[str, threading.Lock] = (
            weakref.WeakValueDictionary()
        )

    def path(self, key: str, etag: str, fetch: Callable[[Path], None]) -> Path:
        """The copy of these very bytes; `fetch(path)` writes it when it is not there yet."""
        name = hashlib.sha256(f"{key}\n{etag}".encode()).hexdigest()
        target = self._folder / name
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if not target.is_file():
                beside = self._folder / f".{name}-{threading.get_ident()}"
                try:
                    fetch(beside)
                    beside.chmod(0o444)
                    beside.replace(target)
                finally:
                    beside.unlink(missing_ok=True)
        return target
