"""Whether a process answers: small questions with short deadlines."""

import http.client
import socket
from pathlib import Path

TIMEOUT_S = 2.0


def listens(port: int) -> bool:
    """A TCP connection to 127.0.0.1 is accepted."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S).close()
    except OSError:
        return False
    return True


def answers(port: int, path: str, *, headers: dict[str, str] | None = None) -> bool:
    """GET gives 200."""
    return get(port, path, headers=headers)[0] == 200


def get(
    port: int, path: str, *, headers: dict[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> tuple[int, bytes]:
    """Status and body; status 0 when nobody answers in time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def postgres_ready(data: Path) -> bool:
    """The server's own word for it, line 8 of its lock file: asking costs no connection."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"
