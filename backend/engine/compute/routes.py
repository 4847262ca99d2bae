"""Routes of the runners (rule 36): `exchange` is a long poll that holds no thread and no connection."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import orjson
import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from backend.engine.compute.cluster.leases import PodLeases
from backend.engine.compute.exchange import RunnerService, lease, parents
from backend.engine.compute.line import Line
from backend.engine.compute.metrics import router as metrics
from backend.engine.compute.queue import Claimed
from backend.engine.compute.reporting import Reporter
from backend.engine.compute.results import Result
from backend.engine.compute.sessions import Bound
from backend.engine.compute.wakeups import Wakeups
from backend.engine.task_logs.routes import router as task_logs
from backend.engine.waiting.routes import router as waiting
from backend.kit.errors import Invalid, Overloaded, Unauthenticated
from backend.monitoring.counters import Counters
from backend.node import Node

log = structlog.get_logger()
R = TypeVar("R")
LONGEST_S = 20.0
MOST_BODY = 8 * 1024 * 1024
DRAIN_S = 2.0
"""How long an ending process waits for reports on their way; others are resumed from the outbox."""
HOLD_S = 1.5
"""How long a heartbeat's answer waits for a cancel; with the pause between two, a beat every `HEARTBEAT_S`."""
EARLY_PAUSES_S = (0.05, 0.1, 0.2, 0.4, *(1.0,) * 20)
"""Between asks whether the ledger knows by now that a task's parents are done."""
MOST_LINES = 200
"""Lines of pods that are remembered while nobody stands in them."""
THREADS = 4
"""Threads of this process that serve runners; the database pool is shared with all other routes."""


class ExchangeIn(BaseModel):
    model_config = ConfigDict(extra="ignore")

    session: UUID
    result: Result | None = None
    wait_s: float = Field(default=LONGEST_S, ge=0)


class HeldLease(BaseModel):
    task: UUID
    lock_token: str


class HeartbeatIn(BaseModel):
    model_config = ConfigDict(extra="ignore")

    session: UUID
    leases: list[HeldLease] = Field(default_factory=list, max_length=1000)


class RunnerGate:
    """What the runner routes of one process share; made at the first call."""

    def __init__(self, node: Node, counters: Counters) -> None:
        reporter = Reporter(node.settings, node.database, node.storage, node.ledger.on)
        self.counters = counters
        self.service = RunnerService(
            node.settings,
            node.database,
            node.ledger.on,
            reporter,
            self.counters,
            PodLeases(node.storage),
        )
        self.wakeups = Wakeups(node.database)
        self.line = Line(self.wakeups.signal("ready"))
        self._pod_lines: dict[Bound, Line] = {}
        self.draining = False
        self._begun: dict[UUID, asyncio.Task[None]] = {}
        self._limiter = CapacityLimiter(THREADS)
        self.wakeups.listen()

    async def run(self, work: Callable[..., R], *arguments: Any) -> R:
        """Run blocking work in one of the few threads.

        Raises:
            Overloaded: the database is away; the runner repeats the call.
        """
        try:
            return await to_thread.run_sync(work, *arguments, limiter=self._limiter)
        except SQLAlchemyError as error:
            log.warning("runner_database", error=str(error).splitlines()[0])
            raise Overloaded(headers={"Retry-After": "1"}) from None

    async def authenticate(self, session: UUID, token: str) -> None:
        """Raises `Unauthenticated`; a session seen lately costs no thread."""
        if not self.service.recognized(session, token):
            await self.run(self.service.authenticate, session, token)

    def line_of(self, session: UUID) -> Line:
        """Where a session waits: pods of one plan and image stand in a line of their own."""
        bound = self.service.bound(session)
        if bound is None:
            return self.line
        if bound not in self._pod_lines and len(self._pod_lines) > MOST_LINES:
            self._pod_lines = {b: line for b, line in self._pod_lines.items() if line.busy}
        return self._pod_lines.setdefault(bound, Line(self.wakeups.signal("ready")))

    async def lease(self, session: UUID, work: Claimed) -> dict[str, Any]:
        """A pod's lease is signed in a thread; a runner's is there already."""
        if self.service.bound(session) is None:
            return lease(work)
        return await self.run(self.service.lease, session, work)

    def begin(self, task: UUID, work: Callable[..., object], *arguments: Any) -> None:
        """Do what concerns a task beside its runner's request; one thing a task at a time."""
        self._begin(task, self.run(work, *arguments))

    def _begin(self, task: UUID, work: Coroutine[Any, Any, object]) -> None:
        running = asyncio.create_task(self._do(task, self._begun.get(task), work))
        self._begun[task] = running
        running.add_done_callback(lambda done: self._ended(task, done))

    def start(self, work: Claimed) -> None:
        """Tell the ledger that a leased task runs, once the reports of its parents are through."""
        self._begin(work.key, self._start(work))

    async def _start(self, work: Claimed) -> None:
        for pause_s in EARLY_PAUSES_S:
            for parent in parents(work):
                await self.begun(parent)
            if await self.run(self.service.start, work) or self.draining:
                return
            await asyncio.sleep(pause_s)
        log.warning("start_too_early", task=str(work.key))  # its report says that it runs

    async def begun(self, task: UUID) -> None:
        """Wait for what was begun for a task."""
        running = self._begun.get(task)
        if running is not None:
            await asyncio.wait([running])

    async def _do(
        self, task: UUID, earlier: asyncio.Task[None] | None, work: Coroutine[Any, Any, object]
    ) -> None:
        """What fails here is taken up again from its row: an expired lease, an outbox entry."""
        if earlier is not None:
            await asyncio.wait([earlier])
        try:
            await work
        except Exception as error:
            log.warning("beside_failed", task=str(task), error=repr(error))

    def _ended(self, task: UUID, done: asyncio.Task[None]) -> None:
        if self._begun.get(task) is done:
            del self._begun[task]

    def drain(self) -> None:
        """End the long polls: their runners ask the next process."""
        self.draining = True
        for line in (self.line, *self._pod_lines.values()):
            line.close()
        self.wakeups.signal("cancel").fire()

    async def close(self) -> None:
        self.drain()
        if self._begun:
            await asyncio.wait(list(self._begun.values()), timeout=DRAIN_S)
        await to_thread.run_sync(self.wakeups.close)


def gate(app: FastAPI) -> RunnerGate:
    """The gate of this application, made at its first use (most processes of the API serve no runner)."""
    present: RunnerGate | None = getattr(app.state, "runner_gate", None)
    if present is None:
        present = app.state.runner_gate = RunnerGate(app.state.node, app.state.counters)
    return present


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    present: RunnerGate | None = getattr(app.state, "runner_gate", None)
    if present is not None:
        await present.close()


runner = APIRouter(prefix="/runner", tags=["runner"], include_in_schema=False)


@runner.post("/exchange/")
async def exchange(request: Request) -> Response:
    """Give the last result, take the next lease; waits at most `wait_s` for one."""
    here = gate(request.app)
    asked = await _body(request, ExchangeIn)
    until = time.monotonic() + min(asked.wait_s, LONGEST_S)
    await here.authenticate(asked.session, _token(request))
    work = None
    if not await _given(here, asked):
        work = await here.run(here.service.held, asked.session)
    if work is None:
        look = partial(here.run, here.service.take, asked.session)
        work = await here.line_of(asked.session).next(look, until, request.is_disconnected)
    if work is None:
        answer = {"cancel": await here.run(here.service.canceled, asked.session)}
        return Response(orjson.dumps(answer), media_type="application/json")
    here.start(work)
    body = orjson.dumps({"cancel": [], "lease": await here.lease(asked.session, work)})
    return Response(body, media_type="application/json")


async def _given(here: RunnerGate, asked: ExchangeIn) -> bool:
    """Whether the request brought a result that is new; its report goes on while the runner has its answer."""
    if asked.result is None:
        return False
    await here.begun(asked.result.task)
    entry = await here.run(here.service.give, asked.session, asked.result)
    opened = entry is not None and await here.run(here.service.open_next, entry)
    if opened or here.service.blocked:
        here.wakeups.wake({"ready"}, others=opened)
    if entry is not None:
        here.begin(entry.task, here.service.report, entry)
    return entry is not None


@runner.post("/heartbeat/")
async def heartbeat(request: Request) -> Response:
    """Extend leases; says which are lost and which tasks have to stop.

    The answer waits a moment for a cancel, so that a function is stopped as soon as it comes.
    """
    here = gate(request.app)
    asked = await _body(request, HeartbeatIn)
    await here.authenticate(asked.session, _token(request))
    leases = {lease.task: lease.lock_token for lease in asked.leases}
    canceled = here.wakeups.signal("cancel")
    until = time.monotonic() + HOLD_S
    while True:
        seen = canceled.value
        beat = await here.run(here.service.beat, asked.session, leases)
        left = until - time.monotonic()
        if beat.lost or beat.canceled or here.draining or not leases or left <= 0:
            break
        if not await canceled.wait_async(seen, left):
            break
    body = orjson.dumps({"lost": beat.lost, "cancel": beat.canceled})
    return Response(body, media_type="application/json")


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(challenge="Bearer")
    return token.strip()


Body = TypeVar("Body", bound=BaseModel)


async def _body(request: Request, shape: type[Body]) -> Body:
    """The JSON body; NaN is allowed, as Python writes it.

    Raises:
        Invalid: not JSON, too large, or of another shape.
    """
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MOST_BODY:
        raise Invalid({"detail": "The body is too large."})
    try:
        return shape.model_validate(await request.json())
    except ValidationError as error:
        fields = {".".join(map(str, e["loc"])) or "detail": [e["msg"]] for e in error.errors()}
        raise Invalid(fields) from None
    except (ValueError, RecursionError, asyncio.IncompleteReadError):
        raise Invalid({"detail": "The body is not JSON."}) from None


router = APIRouter(lifespan=_lifespan)
"""All routes of the engine."""
router.include_router(runner)
router.include_router(metrics)
router.include_router(waiting)
router.include_router(task_logs)
