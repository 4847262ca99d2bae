"""The gRPC face: handlers made from the protos' descriptors, headers checked first (orchestrator.md 2.4)."""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from secrets import token_hex
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from structlog.contextvars import bind_contextvars

from orchestrator.errors import Internal, Overloaded, Refusal
from orchestrator.identity import Caller, Identities, Metadata
from orchestrator.limits import MAX_MESSAGE as MAX_MESSAGE
from orchestrator.limits import STREAMS, parse
from orchestrator.metrics import CallMetrics, Metrics
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
RETRY_AFTER_MS = "1000"

Context = grpc.aio.ServicerContext[Any, Any]


def options(ping_interval_s: float, *, pings_without_calls: bool) -> list[tuple[str, int]]:
    """Of the gRPC server: sizes, and how often a client may ping."""
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.max_concurrent_streams", STREAMS),
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", int(ping_interval_s * 1000)),
        ("grpc.keepalive_permit_without_calls", int(pings_without_calls)),
        # A subscriber whose machine has vanished is noticed, and its stream ended.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]


def services() -> Iterator[ServiceDescriptor]:
    for file in FILES:
        yield from file.DESCRIPTOR.services_by_name.values()


def handlers(
    ledger: Ledger, identities: Identities, metrics: Metrics
) -> list["grpc.GenericRpcHandler[Any, Any]"]:
    """One generic handler a service."""
    made = []
    for service in services():
        methods = {
            method.name: _handler(ledger, identities, metrics, service, method)
            for method in service.methods
        }
        made.append(grpc.method_handlers_generic_handler(service.full_name, methods))
    return made


def _handler(
    ledger: Ledger,
    identities: Identities,
    metrics: Metrics,
    service: ServiceDescriptor,
    method: MethodDescriptor,
) -> "grpc.RpcMethodHandler[Any, Any]":
    # Requests arrive as bytes: who calls is known before anything is read, and what cannot be read is refused
    # with a code of ours.
    request: type[Message] = GetMessageClass(method.input_type)
    if method.server_streaming:
        counted = metrics.call("server_stream", service.full_name, method.name)
        return grpc.unary_stream_rpc_method_handler(_stream(ledger, identities, counted))
    answer: type[Message] = GetMessageClass(method.output_type)
    name = f"{service.name}/{method.name}"
    counted = metrics.call("unary", service.full_name, method.name)
    return grpc.unary_unary_rpc_method_handler(
        _unary(ledger, identities, counted, name, request),
        response_serializer=answer.SerializeToString,
    )


def _unary(
    ledger: Ledger, identities: Identities, counted: CallMetrics, name: str, kind: type[Message]
) -> Callable[[bytes, Context], Awaitable[Message]]:
    async def call(raw: bytes, context: Context) -> Message:
        metadata = context.invocation_metadata()
        bind_contextvars(reqid=request_id(metadata))
        with counted.running() as running:
            try:
                caller = identities.caller(metadata, context.auth_context)
                request = parse(kind, raw)
                answer = await ledger.call(name, caller, request, len(raw), _deadline(context))
                running.answered()
                log.debug("call", method=name, organization=caller.organization)
                return answer
            except Refusal as refusal:
                refused = refusal
            except Exception:
                log.exception("call_failed", method=name)
                refused = Internal("the request failed")
            running.code = refused.status
            await refuse(context, name, refused)
            raise refused  # refuse has raised already

    return call


def _stream(
    ledger: Ledger, identities: Identities, counted: CallMetrics
) -> Callable[[bytes, Context], AsyncIterator[bytes]]:
    name = "EventService/SubscribeToEvents"

    async def follow(raw: bytes, context: Context) -> AsyncIterator[bytes]:
        metadata = context.invocation_metadata()
        bind_contextvars(reqid=request_id(metadata))

        def identify() -> Caller:
            return identities.caller(metadata, context.auth_context)

        with counted.running() as running:
            try:
                caller = identify()
                request = parse(event_pb2.SubscribeToEventsParam, raw)
                async for event in ledger.subscribe(caller, request, identify):
                    yield event
                    counted.sent()
                running.code = grpc.StatusCode.OK
                return
            except Refusal as refusal:
                refused = refusal
            except Exception:
                log.exception("stream_failed")
                refused = Internal("the stream failed")
            running.code = refused.status
            await refuse(context, name, refused)

    return follow


async def refuse(context: Context, method: str, refusal: Refusal) -> None:
    """End a call with a refusal's code and text; an overload says when to come again (gRPC's own header)."""
    log.info("refused", method=method, status=refusal.status.name, text=str(refusal))
    hint = (("grpc-retry-pushback-ms", RETRY_AFTER_MS),) if isinstance(refusal, Overloaded) else ()
    await context.abort(refusal.status, str(refusal), hint)


def request_id(metadata: Metadata) -> str:
    """What the caller says (header `reqid`), else eight random characters (orchestrator.md 2.2)."""
    for key, value in metadata or ():
        if key == "reqid" and isinstance(value, str) and value:
            return value[:100]
    return token_hex(4)


def _deadline(context: Context) -> float:
    """When the caller stops waiting, on the monotonic clock; infinity without a deadline."""
    left = context.time_remaining()
    return math.inf if left is None else time.monotonic() + left
