"""Routes of the runners (rule 36): `exchange` is a long poll that holds no thread and no connection."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import orjson
import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from backend.engine.compute.exchange import RunnerService
from backend.engine.compute.reporting import Reporter
from backend.engine.compute.results import Result
from backend.engine.compute.wakeups import POLL_S, Wakeups
from backend.kit.errors import Invalid, Overloaded, Unauthenticated
from backend.node import Node

log = structlog.get_logger()
R = TypeVar("R")
LONGEST_S = 20.0
MOST_BODY = 8 * 1024 * 1024
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

    def __init__(self, node: Node) -> None:
        reporter = Reporter(node.settings, node.database, node.storage, node.ledger.on)
        self.service = RunnerService(node.settings, node.database, node.ledger.on, reporter)
        self.wakeups = Wakeups(node.database)
        self.ready = self.wakeups.signal("ready")
        self.draining = False
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

    def drain(self) -> None:
        """End the long polls: their runners ask the next process."""
        self.draining = True
        self.ready.fire()

    def close(self) -> None:
        self.drain()
        self.wakeups.close()


def gate(app: FastAPI) -> RunnerGate:
    """The gate of this application, made at its first use (most processes of the API serve no runner)."""
    present: RunnerGate | None = getattr(app.state, "runner_gate", None)
    if present is None:
        present = app.state.runner_gate = RunnerGate(app.state.node)
    return present


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    present: RunnerGate | None = getattr(app.state, "runner_gate", None)
    if present is not None:
        await to_thread.run_sync(present.close)


router = APIRouter(prefix="/runner", tags=["runner"], include_in_schema=False, lifespan=_lifespan)


@router.post("/exchange/")
async def exchange(request: Request) -> Response:
    """Give the last result, take the next lease; waits at most `wait_s` for one."""
    here = gate(request.app)
    asked = await _body(request, ExchangeIn)
    started = time.monotonic()
    await here.run(here.service.authenticate, asked.session, _token(request))
    if asked.result is not None:
        entry = await here.run(here.service.give, asked.session, asked.result)
        if entry is not None:
            await here.run(here.service.report, entry)
    lease = await _wait(request, here, asked, started + min(asked.wait_s, LONGEST_S))
    canceled = [] if lease is not None else await here.run(here.service.canceled, asked.session)
    answer: dict[str, Any] = {"cancel": canceled}
    if lease is not None:
        answer["lease"] = lease
    return Response(orjson.dumps(answer), media_type="application/json")


async def _wait(
    request: Request, here: RunnerGate, asked: ExchangeIn, until: float
) -> dict[str, Any] | None:
    """Look for a lease at every wake-up and every second, until the deadline or the drain."""
    while True:
        seen = here.ready.value
        if here.draining or (await request.is_disconnected()):
            return None
        lease = await here.run(here.service.take, asked.session)
        left = until - time.monotonic()
        if lease is not None or left <= 0 or here.draining:
            return lease
        await here.ready.wait_async(seen, min(left, POLL_S))


@router.post("/heartbeat/")
async def heartbeat(request: Request) -> Response:
    """Extend leases; says which are lost and which tasks have to stop."""
    here = gate(request.app)
    asked = await _body(request, HeartbeatIn)
    await here.run(here.service.authenticate, asked.session, _token(request))
    leases = {lease.task: lease.lock_token for lease in asked.leases}
    beat = await here.run(here.service.beat, asked.session, leases)
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
