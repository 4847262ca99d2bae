"""What a function has said so far, sent to its log's address while it runs, for whoever follows it.

The whole log each time, in the form that it has at its end: nobody keeps pieces, and the last one is the log.
"""

import io
import logging
import threading
import time
from types import TracebackType
from typing import Self

from ray_jobs.capture import LogCapture
from ray_jobs.pod import transfer

log = logging.getLogger(__name__)
_PAUSE_S = 1.0
_SHARE = 10  # at most this part of the time is spent on sending


class SharedCapture(LogCapture):
    """A capture that another thread may look at."""

    said = 0
    _lock: threading.Lock

    def _open(self) -> None:
        self._lock = threading.Lock()
        super()._open()

    def add(self, data: bytes) -> None:
        with self._lock:
            self.said += len(data)
            super().add(data)

    def so_far(self) -> bytes:
        """The log as it would be if it ended now. Raises OSError."""
        with self._lock:
            tail = self._tail
            dropped = self._dropped + (tail.dropped if tail else 0)
            parts = [self.path.read_bytes(), *(tail.content() if tail else ())]
        if dropped:
            parts.insert(1, f"\n[... {dropped} bytes of the log left out ...]\n".encode())
        return b"".join(parts)


class Live:
    """Sends a log within its block; one that cannot be sent is sent at the end of its task."""

    def __init__(self, capture: SharedCapture, url: str | None) -> None:
        self._capture = capture
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-log", daemon=True)

    def __enter__(self) -> Self:
        if self._url is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is on its way any more, which could come after the log's last form."""
        self._over.set()
        if self._url is not None:
            self._thread.join()

    def _run(self) -> None:
        sent, pause_s = 0, _PAUSE_S
        while not self._over.wait(pause_s):
            said = self._capture.said
            if said == sent:
                continue
            began = time.monotonic()
            try:
                content = self._capture.so_far()
                transfer.upload(self._url or "", io.BytesIO(content), "log", attempts=1)
                sent = said
            except (transfer.TransferFailed, OSError) as problem:
                log.info("the log so far was not sent: %s", problem)
            pause_s = max(_PAUSE_S, _SHARE * (time.monotonic() - began))
