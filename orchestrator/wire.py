"""The gRPC face: handlers made from the protos' descriptors, headers checked first (orchestrator.md 2.4)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from orchestrator.errors import Internal, Refusal
from orchestrator.identity import Channels, identify
from orchestrator.service import Ledger
from protos.orchestrator import (
    computeplan_pb2,
    computetask_pb2,
    datamanager_pb2,
    datasample_pb2,
    dataset_pb2,
    event_pb2,
    failure_report_pb2,
    function_pb2,
    info_pb2,
    model_pb2,
    organization_pb2,
    performance_pb2,
    profiling_pb2,
)

log = structlog.get_logger(__name__)

FILES = (
    computeplan_pb2,
    computetask_pb2,
    datamanager_pb2,
    datasample_pb2,
    dataset_pb2,
    event_pb2,
    failure_report_pb2,
    function_pb2,
    info_pb2,
    model_pb2,
    organization_pb2,
    performance_pb2,
    profiling_pb2,
)
MAX_MESSAGE = 64 * 1024 * 1024
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
    ("grpc.keepalive_permit_without_calls", 0),
]
_HEALTH_CALLS = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List")
_OURS = "/orchestrator."

Context = grpc.aio.ServicerContext[Any, Any]


def services() -> Iterator[ServiceDescriptor]:
    for file in FILES:
        yield from file.DESCRIPTOR.services_by_name.values()


def handlers(ledger: Ledger, channels: Channels) -> list["grpc.GenericRpcHandler[Any, Any]"]:
    """One generic handler a service."""
    made = []
    for service in services():
        methods = {
            method.name: _handler(ledger, channels, service, method) for method in service.methods
        }
        made.append(grpc.method_handlers_generic_handler(service.full_name, methods))
    return made


def _handler(
    ledger: Ledger, channels: Channels, service: ServiceDescriptor, method: MethodDescriptor
) -> "grpc.RpcMethodHandler[Any, Any]":
    request: type[Message] = GetMessageClass(method.input_type)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(
            _stream(ledger, channels), request_deserializer=request.FromString
        )
    answer: type[Message] = GetMessageClass(method.output_type)
    return grpc.unary_unary_rpc_method_handler(
        _unary(ledger, channels, f"{service.name}/{method.name}"),
        request_deserializer=request.FromString,
        response_serializer=answer.SerializeToString,
    )


def _unary(
    ledger: Ledger, channels: Channels, name: str
) -> Callable[[Message, Context], Awaitable[Message]]:
    async def call(request: Message, context: Context) -> Message:
        try:
            caller = identify(context.invocation_metadata(), channels)
            return await ledger.call(name, caller, request)
        except Refusal as refusal:
            refused = refusal
        except Exception:
            log.exception("call_failed", method=name)
            refused = Internal("the request failed")
        log.debug("refused", method=name, status=refused.status.name, text=str(refused))
        await context.abort(refused.status, str(refused))
        raise refused  # abort has raised already

    return call


def _stream(
    ledger: Ledger, channels: Channels
) -> Callable[[event_pb2.SubscribeToEventsParam, Context], AsyncIterator[bytes]]:
    async def follow(
        request: event_pb2.SubscribeToEventsParam, context: Context
    ) -> AsyncIterator[bytes]:
        try:
            caller = identify(context.invocation_metadata(), channels)
            async for event in ledger.subscribe(caller, request):
                yield event
        except Refusal as refusal:
            await context.abort(refusal.status, str(refusal))

    return follow


class Headers(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Reflection and health streams need the headers too; only the unary health calls go without."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or details.method.startswith(_OURS) or details.method in _HEALTH_CALLS:
            return handler
        try:
            identify(details.invocation_metadata, self._channels)
        except Refusal as refusal:
            return _refusing(handler, refusal)
        return handler


def _refusing(handler: Any, refusal: Refusal) -> "grpc.RpcMethodHandler[Any, Any]":
    """A handler of the same form that refuses every call."""

    async def unary(request: Any, context: Context) -> None:
        await context.abort(refusal.status, str(refusal))

    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(unary, handler.request_deserializer)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(unary, handler.request_deserializer)
    return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer)
