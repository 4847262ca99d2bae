"""The API and the object store as pods see them: one HTTP server, commanded by a test."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from ray_jobs.pod.session import token


class PodApi:
    """Leases go out by plan, files are kept by name, results by task."""

    def __init__(self, key: bytes, host: str = "127.0.0.1") -> None:
        self.key = key
        self.files: dict[str, bytes] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.given: dict[str, float] = {}  # task -> when its lease went out, by time.time()
        self.cut: set[str] = set()  # downloads that break off after half of the file, once
        self.canceled: list[str] = []
        self.plans: dict[str, str] = {}  # session -> plan
        self.tokens: dict[str, str] = {}  # of sessions that the key is not for
        self.sessions: set[str] = set()  # that have asked for something
        self._leases: dict[str, list[dict[str, Any]]] = {}
        self._wake = threading.Condition()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                session = body["session"]
                secret = api.tokens.get(session) or token(api.key, session)
                known = self.headers["Authorization"] == f"Bearer {secret}"
                if not known or session not in api.plans:
                    return self.answer(401)
                if self.path.endswith("/heartbeat/"):
                    api.beat(body)
                    return self.answer(200, {"lost": [], "cancel": api.canceled})
                return self.answer(200, api.exchange(body))

            def do_GET(self) -> None:
                name = self.path.removeprefix("/files/")
                content = api.files.get(name)
                if content is None:
                    return self.answer(404)
                start = int((self.headers["Range"] or "bytes=0-")[6:].split("-")[0])
                content = content[start:]
                head = (
                    f"HTTP/1.1 {206 if start else 200} X\r\nContent-Length: {len(content)}\r\n\r\n"
                )
                if name in api.cut:
                    api.cut.discard(name)
                    content = content[: len(content) // 2]
                    self.close_connection = True
                self.wfile.write(head.encode() + content)
                return None

            def do_PUT(self) -> None:
                length = int(self.headers["Content-Length"])
                name = self.path.removeprefix("/files/")
                api.files[name] = self.rfile.read(length)
                api.put_here(name)
                self.answer(200)

            def answer(self, status: int, value: Any = None) -> None:
                content = json.dumps(value or {}).encode()
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n\r\n"
                self.wfile.write(head.encode() + content)

            def log_message(self, *_arguments: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def exchange(self, body: dict[str, Any]) -> dict[str, Any]:
        plan = self.plans[body["session"]]
        with self._wake:
            self.sessions.add(body["session"])
            if body.get("result"):
                self.results[body["result"]["task"]] = body["result"]
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._leases.get(plan), min(body["wait_s"], 5.0))
            waiting = self._leases.get(plan)
            if not waiting:
                return {"cancel": []}
            lease = waiting.pop(0)
            self.given[lease["task"]] = time.time()
            return {"lease": lease, "cancel": []}

    def beat(self, body: dict[str, Any]) -> None:
        """A heartbeat came."""

    def put_here(self, name: str) -> None:
        """A file came."""

    def open(self, plan: str) -> str:
        """A session that may take leases of `plan`."""
        session = str(uuid4())
        self.plans[session] = plan
        return session

    def put(self, name: str, content: bytes) -> str:
        self.files[name] = content
        return f"{self.url}/files/{name}"

    def offer(self, plan: str, entrypoint: list[str], **changes: Any) -> str:
        """A task of `plan` without inputs, with one model as output."""
        task = str(uuid4())
        lease = {
            "task": task,
            "lock_token": "0" * 32,
            "plan": plan,
            "function": str(uuid4()),
            "rank": 0,
            "environment": {"image": "x@sha256:" + "0" * 64, "entrypoint": entrypoint},
            "inputs": [],
            "outputs": [
                {
                    "identifier": "model",
                    "kind": "ASSET_MODEL",
                    "url": f"{self.url}/files/{task}-model",
                }
            ],
            "log_url": f"{self.url}/files/{task}-log",
            **changes,
        }
        with self._wake:
            self._leases.setdefault(plan, []).append(lease)
            self._wake.notify_all()
        return task

    def result(self, task: str, deadline_s: float) -> dict[str, Any]:
        with self._wake:
            assert self._wake.wait_for(lambda: task in self.results, deadline_s), "no result came"
            return self.results[task]

    def log(self, task: str) -> str:
        return self.files.get(f"{task}-log", b"").decode()
