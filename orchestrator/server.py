"""A ledger process: event loop, gRPC server, one writer a channel, readers, gossip.

Calls and streams live in one event loop, so that open streams hold no thread; reads and replays have small
thread pools of their own, so that neither keeps the other waiting.
"""

import asyncio
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc.aio
import structlog
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from orchestrator import wire
from orchestrator.database import Pool, migrate
from orchestrator.errors import Refusal
from orchestrator.events import Event
from orchestrator.feed import Feed
from orchestrator.gossip import Gossip
from orchestrator.identity import members
from orchestrator.reads.events import heads
from orchestrator.service import Ledger, deliver_outcome, read_after
from orchestrator.writer import Job, Outcome, Writer

log = structlog.get_logger(__name__)

READERS = 10
REPLAYERS = 4
DRAIN_S = 1.5


class Server:
    """`start()` returns when calls are answered, `stop()` when the last one was."""

    def __init__(
        self,
        database_url: str,
        channels: Mapping[str, Sequence[str]],
        listen: str = "127.0.0.1:0",
        *,
        replay_batch: int = 100,
    ) -> None:
        self._url = database_url
        self._channels = members(channels)
        self._listen = listen
        self._replay_batch = replay_batch
        self._holder = uuid.uuid4().hex
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="ledger-loop", daemon=True)
        self._address = ""

    @property
    def address(self) -> str:
        """`host:port`, with the port that was bound."""
        return self._address

    def start(self) -> None:
        """Bring the schema up to date and serve.

        Raises:
            RuntimeError: the address cannot be bound.
            psycopg2.Error: the database cannot be used.
        """
        migrate(self._url)
        self._pool = Pool(self._url, READERS)
        self._replay_pool = Pool(self._url, REPLAYERS)
        self._readers = ThreadPoolExecutor(READERS, "ledger-read")
        self._replayers = ThreadPoolExecutor(REPLAYERS, "ledger-replay")
        self._feeds = self._make_feeds()
        self._gossip = Gossip(self._url, self._holder, self._heard)
        self._writers = {
            name: Writer(self._url, name, self._holder, partial(self._deliver, name))
            for name in self._channels
        }
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result()
        for writer in self._writers.values():
            writer.start()
        self._gossip.start()
        log.info("ledger_serves", address=self._address, channels=sorted(self._channels))

    def stop(self) -> None:
        """Drain: refuse new calls, end streams cleanly, answer what is under way, let go of the channels."""
        asyncio.run_coroutine_threadsafe(self._drain(), self._loop).result()
        for writer in self._writers.values():
            writer.stop()
        self._gossip.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._readers.shutdown()
        self._replayers.shutdown()
        self._pool.close()
        self._replay_pool.close()
        log.info("ledger_stopped", address=self._address)

    # ------------------------------------------------------------------ the event loop
    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _serve(self) -> None:
        self._server = grpc.aio.server(
            interceptors=[wire.Headers(self._channels)], options=wire.OPTIONS
        )
        ledger = Ledger(
            writers=self._writers, feeds=self._feeds, pool=self._pool, readers=self._readers
        )
        self._server.add_generic_rpc_handlers(tuple(wire.handlers(ledger, self._channels)))
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [service.full_name for service in wire.services()]
        reflection.enable_server_reflection(
            (*names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        port = self._server.add_insecure_port(self._listen)
        if port == 0:
            raise RuntimeError(f"cannot listen on {self._listen}")
        self._address = f"{self._listen.rpartition(':')[0]}:{port}"
        await self._server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)

    async def _drain(self) -> None:
        await self._health.enter_graceful_shutdown()
        for feed in self._feeds.values():
            feed.close()
        await self._server.stop(DRAIN_S)

    # ------------------------------------------------------------------ events and answers
    def _make_feeds(self) -> dict[str, Feed]:
        read = partial(read_after, self._replay_pool, self._replayers, self._replay_batch)
        positions = heads(self._pool)
        feeds = {name: Feed(name, read) for name in self._channels}
        for name, feed in feeds.items():
            feed.advance(positions.get(name, 0))
        return feeds

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
        self._feeds[channel].publish(events)

    def _heard(self, channel: str, position: int) -> None:
        """From the gossip's thread: somebody committed up to `position`."""
        feed = self._feeds.get(channel)
        if feed is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(feed.advance, position)
