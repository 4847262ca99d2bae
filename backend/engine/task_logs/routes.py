"""The live log of a task, as server-sent events."""

from typing import Annotated
from uuid import UUID

import structlog
from anyio import CapacityLimiter
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse
from httpx import HTTPError
from starlette.types import Receive, Scope, Send

from backend.access.caller import FileCaller, SessionNode
from backend.engine.task_logs.following import Following
from backend.engine.task_logs.service import TaskLogs
from backend.kit.errors import Overloaded
from backend.kit.keys import checked_key
from backend.node import Node

log = structlog.get_logger()
EVENTS = "text/event-stream"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
MOST = 64
"""Listeners of one process at a time."""
THREADS = 2
"""Threads that look at files and rows for all of them."""
router = APIRouter(tags=["logs"])


class Listeners:
    """What the streams of one process share."""

    def __init__(self) -> None:
        self.count = 0
        self.limiter = CapacityLimiter(THREADS)


class LiveAnswer(Response):
    """A log as it is written, to one listener."""

    def __init__(self, listeners: Listeners, following: Following) -> None:
        super().__init__()
        self._listeners = listeners
        self._following = following

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._listeners.count >= MOST:
            raise Overloaded(headers={"Retry-After": "10"})
        self._listeners.count += 1
        try:
            events = self._following.events()
            answer = StreamingResponse(events, headers=HEADERS, media_type=EVENTS)
            await answer(scope, receive, send)
        finally:
            self._listeners.count -= 1


class PassedOn(Response):
    """The stream of the organization that works on the task, piece by piece as it comes."""

    def __init__(self, node: Node, owner: str, channel: str, task: UUID) -> None:
        super().__init__()
        self._node = node
        self._asked = (owner, channel, f"task/{task}/logs/stream/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._node.exchange.stream(*self._asked) as upstream:
            answer = StreamingResponse(upstream.aiter_raw(), headers=HEADERS, media_type=EVENTS)
            try:
                await answer(scope, receive, send)
            except HTTPError as error:
                log.warning("stream_cut", owner=self._asked[0], error=repr(error))
                raise


@router.get("/task/{key}/logs/stream/")
def follow_task_logs(
    caller: FileCaller,
    node: SessionNode,
    request: Request,
    key: Annotated[UUID, Depends(checked_key)],
) -> Response:
    """What the task has said so far, then what it says, until it is over."""
    logs = TaskLogs(node, caller, key)
    row = logs.permitted()
    if row.worker != node.own:
        return PassedOn(node, row.worker, caller.channel, key)
    state = request.app.state
    listeners: Listeners | None = getattr(state, "log_listeners", None)
    if listeners is None:
        listeners = state.log_listeners = Listeners()

    def ended() -> bool:
        return getattr(getattr(state, "runner_gate", None), "draining", False)

    return LiveAnswer(listeners, Following(logs.look, logs.source, ended, listeners.limiter))
