"""A way to the ledger that can be cut: a TCP relay that swallows what a test tells it to, then hangs up."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 65_536


class Relay:
    """Forwards connections to `target`. `swallow` names the direction whose bytes vanish: "up" or "down"."""

    def __init__(self, target: str, place: str = "127.0.0.1") -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server((place, 0))
        self.port: int = self._listener.getsockname()[1]
        self.swallow = ""
        self.swallowed = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Hang up on everybody; who calls again gets through."""
        self.swallow = ""
        self.swallowed = 0
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                for ends in ((client, server, "up"), (server, client, "down")):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        with source, suppress(OSError):
            while data := source.recv(CHUNK):
                if self.swallow == direction:
                    self.swallowed += len(data)
                else:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(target: str, place: str = "127.0.0.1") -> Iterator[Relay]:
    """Listening at `place` until the end of the block."""
    found = Relay(target, place)
    try:
        yield found
    finally:
        found.close()
