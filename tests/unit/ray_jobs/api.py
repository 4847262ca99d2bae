"""The API's side of `exchange` and `heartbeat`, as a real HTTP server that a test commands."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "a-session-token"
DEADLINE_S = 60.0  # for a machine whose CPUs others have; a test that passes never waits for it


def wait_for(condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """The condition's first true value. Fails after the deadline."""
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        threading.Event().wait(0.005)
    raise AssertionError("the condition did not come true in time")


class Api:
    """Leases go out in order; results are kept by task, with the times of both."""

    def __init__(self) -> None:
        self.leases: list[dict[str, Any]] = []
        self.results: dict[str, dict[str, Any]] = {}
        self.times: dict[str, tuple[float, float]] = {}
        self.heartbeats: list[str] = []
        self.lost: list[str] = []
        self.canceled: list[str] = []
        self.broken = False  # answers 503
        self.unauthorized = 0
        self.bodies: list[dict[str, Any]] = []
        self._given: dict[str, float] = {}
        self._wake = threading.Condition()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    api.unauthorized += 1
                    return self.answer(401, {})
                if api.broken:
                    return self.answer(503, {})
                if self.path == "/org-1/runner/heartbeat/":
                    return self.answer(200, api.beat(body))
                assert self.path == "/org-1/runner/exchange/"
                return self.answer(200, api.exchange(body))

            def answer(self, status: int, value: dict[str, Any]) -> None:
                content = json.dumps(value).encode()
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n\r\n"
                self.wfile.write(head.encode() + content)

            def log_message(self, *_arguments: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/org-1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def exchange(self, body: dict[str, Any]) -> dict[str, Any]:
        self.bodies.append(body)
        with self._wake:
            if body.get("result"):
                task = body["result"]["task"]
                self.results[task] = body["result"]
                self.times[task] = (self._given.get(task, 0.0), time.monotonic())
                self._wake.notify_all()
            self._wake.wait_for(lambda: self.leases or self.broken, min(body["wait_s"], 1.0))
            if not self.leases or self.broken:
                return {"cancel": []}
            lease = self.leases.pop(0)
            self._given[lease["task"]] = time.monotonic()
            return {"lease": lease, "cancel": []}

    def beat(self, body: dict[str, Any]) -> dict[str, Any]:
        self.heartbeats += [lease["task"] for lease in body["leases"]]
        return {"lost": list(self.lost), "cancel": list(self.canceled)}

    def offer(self, lease: dict[str, Any]) -> str:
        with self._wake:
            self.leases.append(lease)
            self._wake.notify_all()
        return str(lease["task"])

    def result(self, task: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        with self._wake:
            assert self._wake.wait_for(lambda: task in self.results, deadline_s), "no result came"
            return self.results[task]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
