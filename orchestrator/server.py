"""A ledger process: event loop, gRPC server, one writer a channel, readers, gossip, watched files.

Calls and streams live in one event loop, so that open streams hold no thread; reads and replays have small
thread pools of their own, so that neither keeps the other waiting.
"""

import asyncio
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc.aio
import structlog
import uvloop
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from orchestrator import wire
from orchestrator.channels import members, parse_channels
from orchestrator.database import Pool, is_current
from orchestrator.errors import Refusal
from orchestrator.events import Event
from orchestrator.feed import Feed
from orchestrator.gossip import Gossip
from orchestrator.guard import Guard
from orchestrator.identity import Identities
from orchestrator.listening import check_free
from orchestrator.metrics import Metrics
from orchestrator.reads.events import heads
from orchestrator.service import Ledger, deliver_outcome, read_after
from orchestrator.tls.paths import TlsPaths
from orchestrator.watching import Watched, Watcher
from orchestrator.writer import Job, Outcome, Writer

if TYPE_CHECKING:
    from orchestrator.tls.material import Credentials

log = structlog.get_logger(__name__)
T = TypeVar("T")

READERS = 10
REPLAYERS = 4
DRAIN_S = 8.0
"""How long calls under way may take to end; a network's supervisor kills after ten seconds."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a server serves. `channel_file` is watched and replaces the channels given at the start."""

    replay_batch: int = 100
    channel_file: Path | None = None
    tls: TlsPaths | None = None
    verify_msp_id: bool = False
    ping_interval_s: float = 30.0
    pings_without_calls: bool = False
    metrics_listen: str | None = None


class Server:
    """`start()` returns when calls are answered, `stop()` when the last one was."""

    def __init__(
        self,
        database_url: str,
        channels: Mapping[str, Sequence[str]],
        listen: str = "127.0.0.1:0",
        options: Options | None = None,
    ) -> None:
        """Raises OSError or TlsFileError when the certificate files cannot be used."""
        self._options = options or Options()
        self._url = database_url
        self._listen = listen
        self._holder = uuid.uuid4().hex
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="ledger-loop", daemon=True)
        self._address = ""
        self._metrics_address = ""
        self._metrics = Metrics()
        self._credentials = _credentials(self._options.tls)
        vouching = self._credentials if self._options.verify_msp_id else None
        self._identities = Identities(members(channels), vouching)
        self._guard = Guard(self._identities)
        self._writers: dict[str, Writer] = {}
        self._feeds: dict[str, Feed] = {}
        self.watched = self._watched()
        """Files that are looked at, and what was wrong with them last."""
        self._watcher = Watcher(self.watched)

    @property
    def address(self) -> str:
        """`host:port`, with the port that was bound."""
        return self._address

    @property
    def metrics_address(self) -> str:
        """`host:port` of `/metrics`, empty when nobody asked for it."""
        return self._metrics_address

    def waiting(self, channel: str) -> int:
        """Requests that wait for the channel's writer."""
        return self._writers[channel].waiting

    def check_addresses(self) -> None:
        """Raises RuntimeError when an address cannot be listened on: said before anything is begun."""
        for address in (self._listen, self._options.metrics_listen):
            if address:
                check_free(address)

    def start(self) -> None:
        """Bring the schema up to date and serve.

        Raises:
            RuntimeError, OSError: an address cannot be bound.
            psycopg2.Error: the database cannot be used.
        """
        self.check_addresses()
        _bring_up_to_date(self._url)
        self._pool = Pool(self._url, READERS)
        self._replay_pool = Pool(self._url, REPLAYERS)
        self._readers = ThreadPoolExecutor(READERS, "ledger-read")
        self._replayers = ThreadPoolExecutor(REPLAYERS, "ledger-replay")
        self.ledger = Ledger(
            writers=self._writers, feeds=self._feeds, pool=self._pool, readers=self._readers
        )
        self._gossip = Gossip(self._url, self._holder, self._heard)
        if self._options.metrics_listen:
            host, _, port = self._options.metrics_listen.rpartition(":")
            self._metrics_address = f"{host}:{self._metrics.listen(host, int(port))}"
        self._thread.start()
        writers = self._open(self._identities.channels)
        self._wait(self._serve())
        log.info(
            "ledger_serves",
            address=self._address,
            channels=sorted(self._identities.channels),
            tls=self._credentials is not None,
            metrics=self._metrics_address,
        )
        for writer in writers:
            writer.start()
        self._gossip.start()
        self._watcher.start()

    def stop(self) -> None:
        """Drain: refuse new calls, end streams cleanly, answer what is under way, let go of the channels."""
        self._watcher.stop()
        self._wait(self._drain())
        for writer in self._writers.values():
            writer.stop()
        self._gossip.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._readers.shutdown()
        self._replayers.shutdown()
        self._pool.close()
        self._replay_pool.close()
        self._metrics.close()
        log.info("ledger_stopped", address=self._address)

    # ------------------------------------------------------------------ the event loop
    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work done in the loop, asked for from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _serve(self) -> None:
        options = self._options
        self._server = grpc.aio.server(
            interceptors=[self._guard],
            options=wire.options(
                options.ping_interval_s, pings_without_calls=options.pings_without_calls
            ),
        )
        self._server.add_generic_rpc_handlers(
            tuple(wire.handlers(self.ledger, self._identities, self._metrics))
        )
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [service.full_name for service in wire.services()]
        reflection.enable_server_reflection(
            (*names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        port = self._bind()
        self._address = f"{self._listen.rpartition(':')[0]}:{port}"
        await self._server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)

    def _bind(self) -> int:
        try:
            if self._credentials is None:
                return self._server.add_insecure_port(self._listen)
            return self._server.add_secure_port(self._listen, self._credentials.server())
        except RuntimeError:
            raise RuntimeError(
                f"cannot listen on {self._listen}: taken, or no address of this machine"
            ) from None

    async def _drain(self) -> None:
        await self._health.enter_graceful_shutdown()
        for feed in self._feeds.values():
            feed.close()
        await self._guard.end_streams()
        await self._server.stop(DRAIN_S)

    # ------------------------------------------------------------------ channels, and files that change
    def _watched(self) -> list[Watched]:
        watched = []
        if path := self._options.channel_file:
            watched.append(
                Watched(str(path), path.read_bytes, self._take_channels, seen=_content(path))
            )
        if credentials := self._credentials:
            watched.append(
                Watched("TLS", credentials.read, self._take_certificates, seen=credentials.content)
            )
        return watched

    def _take_channels(self, content: bytes) -> None:
        """From the watcher's thread: a new channel file. Raises ChannelFileError."""
        assert self._options.channel_file is not None
        channels = members(parse_channels(self._options.channel_file, content))
        for writer in self._open(channels):
            writer.start()
        gone = self._wait(self._exchange(channels))
        for writer in gone:
            writer.stop()

    def _take_certificates(self, content: Any) -> None:
        assert self._credentials is not None
        self._credentials.take(content)
        self._wait(self._ask_again())

    def _open(self, names: Mapping[str, object]) -> list[Writer]:
        """Feeds, and writers to be started, of channels that have none yet."""
        new = [name for name in names if name not in self._writers]
        read = partial(read_after, self._replay_pool, self._replayers, self._options.replay_batch)
        positions = heads(self._pool)
        for name in new:
            feed = Feed(name, read)
            feed.advance(positions.get(name, 0))
            writer = Writer(self._url, name, self._holder, partial(self._deliver, name))
            self._metrics.watch(name, writer)
            self._feeds[name], self._writers[name] = feed, writer
        return [self._writers[name] for name in new]

    async def _exchange(self, channels: Mapping[str, frozenset[str]]) -> list[Writer]:
        """The channels from now on; the writers that nobody can reach any more."""
        self._identities.channels = channels
        gone = [name for name in self._writers if name not in channels]
        writers = [self._writers.pop(name) for name in gone]
        for name in gone:
            self._metrics.forget(name)
        await self._ask_again()
        for name in gone:
            del self._feeds[name]
        log.info("channels_changed", channels=sorted(channels))
        return writers

    async def _ask_again(self) -> None:
        """Streams whose caller may no longer listen end."""
        for feed in self._feeds.values():
            feed.nudge()

    # ------------------------------------------------------------------ events and answers
    def _deliver(
        self, channel: str, outcomes: Sequence[tuple[Job, Outcome]], events: Sequence[Event]
    ) -> None:
        """From a writer's thread: answers first, then the events, in one step of the loop."""
        self._loop.call_soon_threadsafe(self._settle, channel, outcomes, events)
        if events:
            self._gossip.tell(channel, events[-1].position)

    def _settle(
        self,
        channel: str,
        outcomes: Sequence[tuple[Job, Message | Refusal]],
        events: Sequence[Event],
    ) -> None:
        for job, outcome in outcomes:
            deliver_outcome(job.reply, outcome)
        if feed := self._feeds.get(channel):
            feed.publish(events)
        self._loop.call_soon(
            self._count, channel, outcomes, events
        )  # once the answers are on their way

    def _count(
        self,
        channel: str,
        outcomes: Sequence[tuple[Job, Message | Refusal]],
        events: Sequence[Event],
    ) -> None:
        counted = ((job.method, job.request, outcome) for job, outcome in outcomes)
        self._metrics.committed(channel, counted, events)

    def _heard(self, channel: str, position: int) -> None:
        """From the gossip's thread: somebody committed up to `position`."""
        feed = self._feeds.get(channel)
        if feed is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(feed.advance, position)


def _bring_up_to_date(url: str) -> None:
    """The schema, by a child unless the libraries are loaded here anyway (`orchestrator.schema` says why)."""
    if is_current(url):
        return
    if "sqlalchemy" in sys.modules:
        from orchestrator.schema import migrate

        migrate(url)
        return
    run = subprocess.run(
        [sys.executable, "-m", "orchestrator.schema"],
        env=os.environ | {"ORCHESTRATOR_DATABASE_URL": url},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(run.stderr.strip())


def _credentials(paths: TlsPaths | None) -> "Credentials | None":
    if paths is None:
        return None
    from orchestrator.tls.material import Credentials  # loads the certificate library

    return Credentials(paths)


def _content(path: Path) -> bytes | None:
    """What the file held when the server was made; None makes the first look take it."""
    try:
        return path.read_bytes()
    except OSError:
        return None
