"""Whether an address can be listened on, asked before gRPC does: that writes lines of its own."""

import errno
import socket


def check_free(address: str) -> None:
    """Look at HOST:PORT.

    Raises:
        RuntimeError: nobody can listen there; the text says why.
    """
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise RuntimeError(f"cannot listen on {address}: {error.strerror}") from None
    failures = [failure for place in found if (failure := _failure(place[0], place[4]))]
    taken = [failure for failure in failures if failure.errno == errno.EADDRINUSE]
    if taken or len(failures) == len(found):
        failure = (taken or failures)[0]
        raise RuntimeError(f"cannot listen on {address}: {failure.strerror}")


def _failure(family: int, place: object) -> OSError | None:
    """What stands against one of the addresses that a name has."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)  # type: ignore[arg-type]  # as getaddrinfo gives it
    except OSError as error:
        return error
    return None
