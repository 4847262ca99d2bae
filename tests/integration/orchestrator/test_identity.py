"""Headers, health and reflection (orchestrator.md 2.2, 2.4, 12.3)."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from orchestrator.server import Server
from protos.orchestrator.info_pb2 import QueryVersionParam
from tests.integration.orchestrator.member import METHODS, Member

Pairs = tuple[tuple[str, str], ...]
REFUSED: list[tuple[Pairs, grpc.StatusCode, str]] = [
    ((), grpc.StatusCode.FAILED_PRECONDITION, "OE0003"),
    ((("channel", "mychannel"),), grpc.StatusCode.FAILED_PRECONDITION, "OE0003"),
    (
        (("mspid", "a"), ("mspid", "a"), ("channel", "mychannel")),
        grpc.StatusCode.FAILED_PRECONDITION,
        "OE0003",
    ),
    ((("mspid", "a"),), grpc.StatusCode.FAILED_PRECONDITION, "channel"),
    (
        (("mspid", "a"), ("channel", "mychannel"), ("channel", "mychannel")),
        grpc.StatusCode.FAILED_PRECONDITION,
        "channel",
    ),
    ((("mspid", ""), ("channel", "mychannel")), grpc.StatusCode.PERMISSION_DENIED, "unknown"),
    ((("mspid", "x"), ("channel", "mychannel")), grpc.StatusCode.PERMISSION_DENIED, "unknown"),
    ((("mspid", "d"), ("channel", "mychannel")), grpc.StatusCode.PERMISSION_DENIED, "no access"),
    ((("mspid", "a"), ("channel", "nochannel")), grpc.StatusCode.PERMISSION_DENIED, "no access"),
]


@pytest.mark.parametrize(("headers", "code", "text"), REFUSED)
def test_callers_without_a_place_in_the_channel(
    a: Member, headers: Pairs, code: grpc.StatusCode, text: str
) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        a.call("InfoService/QueryVersion", QueryVersionParam(), metadata=headers)
    assert refusal.value.code() is code
    assert text in (refusal.value.details() or "")
    a.metadata = headers  # type: ignore[assignment]
    with pytest.raises(grpc.RpcError) as refusal:
        next(a.subscribe())
    assert refusal.value.code() is code


def test_health_is_asked_without_headers_and_watched_with_them(server: Server) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as refusal:
            next(stub.Watch(health_pb2.HealthCheckRequest()))
        assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        headers = (("mspid", "a"), ("channel", "mychannel"))
        watched = stub.Watch(health_pb2.HealthCheckRequest(), metadata=headers)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        watched.cancel()


def test_reflection_lists_every_service_to_members(server: Server) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError):
            next(stub.ServerReflectionInfo(iter([ask])))
        headers = (("mspid", "a"), ("channel", "mychannel"))
        answer = next(stub.ServerReflectionInfo(iter([ask]), metadata=headers))
    names = {service.name for service in answer.list_services_response.service}
    assert {service for service, _ in METHODS.values()} <= names
    assert "grpc.health.v1.Health" in names
