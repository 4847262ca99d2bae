"""Logs of successful tasks: kept for a while in a folder of this organization; no other one gets them."""

import contextlib
import time
from pathlib import Path
from uuid import UUID

from backend.ports.storage import Storage, StoredFileMissing

STORED = "task-logs"


class KeptLogs:
    """`<MEDIA_ROOT>/task-logs/<task>.log`; `retention_s` 0 keeps none. Pods' are in the storage."""

    def __init__(self, media_root: Path, retention_s: int) -> None:
        self._folder = media_root / "task-logs"
        self.retention_s = retention_s

    def keep(self, task: UUID, source: Path) -> None:
        """Take the file over; one rename. What cannot be kept is no reason for anything to fail."""
        if self.retention_s <= 0:
            return
        with contextlib.suppress(OSError):
            try:
                source.replace(self.path(task))
            except FileNotFoundError:  # the folder, or the log
                self._folder.mkdir(exist_ok=True, mode=0o700)
                source.replace(self.path(task))

    def path(self, task: UUID) -> Path:
        return self._folder / f"{task}.log"

    def forget_old(self) -> int:
        """Remove what is older than the retention time; how many."""
        limit, count = time.time() - self.retention_s, 0
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime < limit:
                        path.unlink()
                        count += 1
        return count


def stored_log(task: UUID) -> str:
    """Where the storage has the kept log of a task that ran in a pod."""
    return f"{STORED}/{task}/log"


def keep_stored(storage: Storage, task: UUID, source: str) -> None:
    """Keep what a pod sent, if it says anything; as above, no failure is worth more than the log."""
    with contextlib.suppress(OSError, StoredFileMissing):
        if storage.size(source) > 0:
            storage.copy(source, stored_log(task))
