"""Ports on the loopback device: chosen free at the first `up`, kept from then on (rule 23)."""

import errno
import random
import socket

# Below Linux's ephemeral range (32768–60999), above what well-known services use: a port that is free now
# is not handed out by the kernel to a client while the network is down.
FIRST, LAST = 20_000, 32_000


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def free_port(taken: set[int] | None = None) -> int:
    """A free port that is not in `taken` (where it is added), free on all interfaces: Ray listens there."""
    taken = set() if taken is None else taken
    for _ in range(1000):
        port = random.randrange(FIRST, LAST)  # noqa: S311  no secret
        if port not in taken and is_free(port) and is_free(port, "0.0.0.0"):  # noqa: S104  a probe
            taken.add(port)
            return port
    raise RuntimeError(f"no free port between {FIRST} and {LAST}")


def free_range(size: int, taken: set[int]) -> int:
    """The first of `size` consecutive free ports."""
    for _ in range(1000):
        first = random.randrange(FIRST, LAST - size)  # noqa: S311  no secret
        ports = range(first, first + size)
        if taken.isdisjoint(ports) and all(is_free(p) and is_free(p, "0.0.0.0") for p in ports):  # noqa: S104
            taken.update(ports)
            return first
    raise RuntimeError(f"no {size} consecutive free ports between {FIRST} and {LAST}")
