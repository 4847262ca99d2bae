"""A load generator: some connections that each ask again as soon as they were answered.

It runs in a process of its own (`python -m bench.load URL`) and does little with an answer but count its bytes,
so that one of its seconds is enough for ten thousand answers: it is never what is measured.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Self
from urllib.parse import urlsplit

END = b"\r\n\r\n"


@dataclass(frozen=True)
class Load:
    """What some seconds of load measured; times in milliseconds."""

    connections: int
    requests: int
    errors: int
    seconds: float
    bytes_each: float
    p50_ms: float
    p99_ms: float

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds

    @classmethod
    def of(cls, clients: "list[Client]", seconds: float) -> Self:
        times = sorted(took for client in clients for took in client.times)
        size = sum(client.received for client in clients)
        errors = sum(client.errors for client in clients)
        if not times:
            raise RuntimeError(f"no answer in {seconds:.1f} s, {errors} errors")
        return cls(
            connections=len(clients),
            requests=len(times),
            errors=errors,
            seconds=seconds,
            bytes_each=size / len(times),
            p50_ms=1000 * times[len(times) // 2],
            p99_ms=1000 * times[min(len(times) - 1, int(len(times) * 0.99))],
        )


class Client(asyncio.Protocol):
    """One connection. Answers must name their length."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._head = b""
        self._missing = 0
        self._began = 0.0
        self._transport: asyncio.Transport | None = None
        self.stopped = False
        self.times: list[float] = []
        self.received = 0
        self.errors = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._head, self._missing = b"", 0
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            self._head += data
            end = self._head.find(END)
            if end < 0:
                return
            length = _length(self._head[:end])
            data = self._head[end + len(END) :]
            self.errors += not self._head.startswith(b"HTTP/1.1 200")
            self.received += length
            self._missing = length
        self._missing -= len(data)
        if self._missing <= 0:
            self.times.append(time.perf_counter() - self._began)
            if not self.stopped:
                self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self.errors += not self.stopped

    def close(self) -> None:
        self.stopped = True
        if self._transport is not None:
            self._transport.close()


def _same(client: Client) -> Client:
    return client


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError("an answer without Content-Length")


async def drive(url: str, token: str, connections: int, seconds: float, warm_s: float) -> Load:
    """Ask for `url` on so many connections; what happens in the first `warm_s` is not counted."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"GET {target} HTTP/1.1", f"Host: {parts.netloc}", "Accept: */*"]
    if token:
        lines.append(f"Authorization: Token {token}")
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    loop, clients = asyncio.get_running_loop(), [Client(request) for _ in range(connections)]
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    for client in clients:
        await loop.create_connection(partial(_same, client), host, port)
    await asyncio.sleep(warm_s)
    for client in clients:
        client.times.clear()
        client.received = 0
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    load = Load.of(clients, time.perf_counter() - began)
    for client in clients:
        client.close()
    return load


def load(url: str, token: str, connections: int, seconds: float = 4.0, warm_s: float = 1.0) -> Load:
    """`drive` in a process of its own."""
    words = [
        url,
        "--connections",
        str(connections),
        "--seconds",
        str(seconds),
        "--warm",
        str(warm_s),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", *words],
        input=token,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Load(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask for one address again and again.")
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--warm", type=float, default=1.0)
    arguments = parser.parse_args()
    token = sys.stdin.readline().strip()  # never among the arguments, which all users can read
    found = asyncio.run(
        drive(arguments.url, token, arguments.connections, arguments.seconds, arguments.warm)
    )
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
