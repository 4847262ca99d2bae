"""The runner's side of `exchange` and `heartbeat` (rule 36): one kept-alive connection per user of it."""

import http.client
import json
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

_LONGEST_ANSWER = 16 << 20
_SLACK_S = 10.0  # beyond what the server may wait


class Unavailable(Exception):
    """No usable answer: connection refused, cut, too slow, 5xx. Worth repeating."""


class Unauthorized(Exception):
    """The token is not (or no longer) good."""


class Client:
    """POSTs JSON below one URL. For one thread; `interrupt` may come from another one."""

    def __init__(self, url: str, token: str, session: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"no http address: {url}")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._token, self._session = token, session
        self._connection: http.client.HTTPConnection | None = None
        self._interrupted = threading.Event()

    def exchange(self, result: dict[str, Any] | None, wait_s: float) -> dict[str, Any]:
        """Give a result, take the next lease. Waits up to `wait_s` at the server."""
        body: dict[str, Any] = {"session": self._session, "wait_s": wait_s}
        if result is not None:
            body["result"] = result
        return self._post("/runner/exchange/", body, wait_s + _SLACK_S)

    def heartbeat(self, leases: list[dict[str, str]]) -> dict[str, Any]:
        """Extend leases; the answer names those that are lost or canceled."""
        return self._post("/runner/heartbeat/", {"session": self._session, "leases": leases}, 5.0)

    def interrupt(self) -> None:
        """End the request under way, and refuse all later ones."""
        self._interrupted.set()
        connection = self._connection
        if connection is not None and connection.sock is not None:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it was closed already

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=timeout_s)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sock.settimeout(timeout_s)
        return self._connection

    def _post(self, path: str, body: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Raises Unavailable or Unauthorized. A kept-alive connection found closed is opened once more.

        Both calls may be repeated safely: the same result twice gets the same answer.
        """
        reused = self._connection is not None
        try:
            return self._once(path, body, timeout_s)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self.close()
            if not reused or self._interrupted.is_set():
                raise Unavailable(str(error)) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Unavailable(str(error)) from error
        try:
            return self._once(path, body, timeout_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Unavailable(str(error)) from error

    def _once(self, path: str, body: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        if self._interrupted.is_set():
            raise Unavailable("interrupted")
        connection = self._connect(timeout_s)
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        connection.request("POST", self._prefix + path, json.dumps(body).encode(), headers)
        response = connection.getresponse()
        content = response.read(_LONGEST_ANSWER + 1)
        if response.will_close:
            self.close()
        if response.status == 401:
            raise Unauthorized
        if response.status != 200 or len(content) > _LONGEST_ANSWER:
            raise ValueError(f"{response.status} from {path}: {content[:200]!r}")
        answer = json.loads(content)
        if not isinstance(answer, dict):
            raise ValueError(f"no object from {path}")
        return answer
