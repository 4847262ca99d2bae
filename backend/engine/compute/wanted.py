"""Long work that ends when nobody wants it any more: transfers, unpacking, waiting for who does the same."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backend.ports.exchange import TransferStopped

WAIT_S = 0.2


def go_on(stopped: Callable[[], bool]) -> None:
    """Raises TransferStopped when `stopped` says so."""
    if stopped():
        raise TransferStopped


@contextmanager
def held(lock: threading.Lock, stopped: Callable[[], bool]) -> Iterator[None]:
    """Hold a lock, waiting for it as long as somebody wants what it is for. Raises TransferStopped."""
    while not lock.acquire(timeout=WAIT_S):
        go_on(stopped)
    try:
        yield
    finally:
        lock.release()
