"""Ends the connections of a transfer that nobody wants any more, also while its owner says nothing."""

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

LOOK_S = 0.25
_OPENED = ("connect_tcp.complete", "start_tls.complete")


class Unwanted:
    """While the block runs, `stopped` is asked several times a second; `extensions` go with each request.

    A read that waits for the next byte then ends as if the owner had cut the connection.
    """

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped
        self._over = threading.Event()
        self._streams: list[Any] = []
        self._thread = threading.Thread(target=self._watch, name="unwanted", daemon=True)
        self.extensions = {"trace": self._trace}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _trace(self, event: str, information: dict[str, Any]) -> None:
        """httpcore tells of each connection that it opens."""
        if event.endswith(_OPENED):
            self._streams.append(information["return_value"])

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            if self._stopped():
                for stream in list(self._streams):
                    self._cut(stream)

    def _cut(self, stream: Any) -> None:
        connection = stream.get_extra_info("socket")
        if isinstance(connection, socket.socket):
            with contextlib.suppress(OSError):  # closed, or handed over to TLS
                connection.shutdown(socket.SHUT_RDWR)
