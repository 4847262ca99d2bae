"""Health and reflection: other people's services on our port (orchestrator.md 2.2, 12.3).

Unary health calls go without headers; everything else of theirs is for members of a channel, as in the
original.
"""

import asyncio
import inspect
from typing import Any

import grpc
import grpc.aio

from orchestrator.errors import Refusal, Unavailable
from orchestrator.identity import Identities
from orchestrator.wire import Context, refuse

LAST_WORD_S = 0.2
OURS = "/orchestrator."
OPEN = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List")


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Checks the headers of what is not ours, and ends those calls when the ledger drains: they never would."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._running: set[asyncio.Task[Any]] = set()
        self._ending = False

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or details.method.startswith(OURS) or details.method in OPEN:
            return handler
        return self._guarded(details.method, handler)

    async def end_streams(self) -> None:
        """End what is open, once those who watch the health were told."""
        self._ending = True
        running = list(self._running)
        if running:
            await asyncio.wait(running, timeout=LAST_WORD_S)
        for task in running:
            task.cancel()

    def _guarded(self, method: str, handler: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        """A handler of the same form that checks first."""

        async def answer(request: Any, context: Context) -> Any:
            try:
                self._identities.caller(context.invocation_metadata(), context.auth_context)
            except Refusal as refusal:
                await refuse(context, method, refusal)
            task = asyncio.ensure_future(_answer(handler, request, context))
            self._running.add(task)
            try:
                return await task
            except asyncio.CancelledError:
                if not self._ending:
                    raise
            finally:
                self._running.discard(task)
            # A task that is only canceled would leave the client waiting.
            await refuse(context, method, Unavailable("the ledger is stopping"))
            return None

        form = (handler.request_deserializer, handler.response_serializer)
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(answer, *form)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(answer, *form)
        return grpc.unary_unary_rpc_method_handler(answer, *form)


async def _answer(handler: Any, request: Any, context: Context) -> Any:
    """Their handler's work: it answers, or yields answers, or writes them itself."""
    if not handler.response_streaming:
        return await handler.unary_unary(request, context)
    run = handler.stream_stream if handler.request_streaming else handler.unary_stream
    made = run(request, context)
    if inspect.isawaitable(made):
        return await made
    async for message in made:
        await context.write(message)
    return None
