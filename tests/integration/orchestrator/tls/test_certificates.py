"""Who may speak for an organization, by certificate (orchestrator.md 2.3)."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from orchestrator.__main__ import prepare
from orchestrator.errors import Internal
from orchestrator.server import Options, Server
from orchestrator.tls.material import Credentials
from orchestrator.tls.msp import verify
from orchestrator.tls.paths import TlsPaths
from protos.orchestrator.info_pb2 import QueryVersionParam
from tests.integration.orchestrator.member import Member
from tests.integration.orchestrator.tls.certificates import HOUR_AGO, Issued, authority, issue
from tests.integration.orchestrator.tls.conftest import CHANNELS, Realm

Chain = Callable[[Realm], tuple[Issued, ...]]
DENIED = grpc.StatusCode.PERMISSION_DENIED
NO_CONNECTION = grpc.StatusCode.UNAVAILABLE


def outcome(
    server: Server, organization: str, credentials: "grpc.ChannelCredentials"
) -> tuple[object, str]:
    """Code and text of a call."""
    with Member(server.address, organization, credentials=credentials) as member:
        try:
            member.call("InfoService/QueryVersion", QueryVersionParam())
        except grpc.RpcError as error:
            return error.code(), str(error.details())
    return grpc.StatusCode.OK, ""


def with_intermediate(realm: Realm) -> tuple[Issued, ...]:
    intermediate = authority("department of a", realm.a)
    return issue(intermediate, "a"), intermediate


def forged_with_a_bystander(realm: Realm) -> tuple[Issued, ...]:
    """b's authority says "a", and a's own public certificate is shown beside it."""
    return issue(realm.b, "a"), issue(realm.a, "a")


CASES: list[tuple[str, Chain, object, str]] = [
    ("a", lambda realm: (issue(realm.a, "a"),), grpc.StatusCode.OK, ""),
    ("b", lambda realm: (issue(realm.b, "b"),), grpc.StatusCode.OK, ""),
    ("a", with_intermediate, grpc.StatusCode.OK, ""),
    ("b", lambda realm: (issue(realm.a, "a"),), DENIED, "not one of organization"),
    ("a", lambda realm: (issue(realm.b, "a"),), DENIED, "not issued by an authority"),
    ("a", forged_with_a_bystander, DENIED, "not issued by an authority"),
    ("c", lambda realm: (issue(realm.a, "c"),), DENIED, "no certificate authority"),
    ("a", lambda realm: (issue(realm.network, "a"),), DENIED, "not issued by an authority"),
    ("a", lambda realm: (issue(authority("stranger"), "a"),), NO_CONNECTION, ""),
    ("a", lambda realm: (issue(realm.a, "a", valid=HOUR_AGO),), NO_CONNECTION, ""),
    ("a", lambda realm: (), NO_CONNECTION, ""),
]


@pytest.mark.parametrize(("organization", "chain", "code", "text"), CASES)
def test_only_a_certificate_of_its_authority_speaks_for_an_organization(
    guarded: Server, realm: Realm, organization: str, chain: Chain, code: object, text: str
) -> None:
    found = outcome(guarded, organization, realm.credentials(*chain(realm)))
    assert found[0] is code
    assert text in found[1]
    if code is DENIED:
        assert found[1].startswith("OE0102")


def test_reflection_and_streams_ask_for_the_certificate_too(guarded: Server, realm: Realm) -> None:
    headers = (("mspid", "b"), ("channel", "mychannel"))
    credentials = realm.credentials(issue(realm.a, "a"))
    with Member(guarded.address, "b", credentials=credentials) as member:
        with pytest.raises(grpc.RpcError) as refusal:
            next(member.subscribe())
        assert refusal.value.code() is DENIED
        stub = reflection_pb2_grpc.ServerReflectionStub(member.channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError) as refusal:
            next(stub.ServerReflectionInfo(iter([ask]), metadata=headers))
        assert refusal.value.code() is DENIED


def test_the_ledger_works_over_mutual_tls(guarded: Server, realm: Realm) -> None:
    credentials = realm.credentials(issue(realm.a, "a"))
    with Member(guarded.address, "a", credentials=credentials) as member:
        plan = member.join().plan()
        assert [event.asset_key for event in member.events(2)] == ["a", plan]


def test_without_the_check_any_certificate_of_the_network_may_name_any_member(
    database_url: str, realm: Realm
) -> None:
    server = Server(database_url, CHANNELS, options=Options(tls=realm.paths))
    server.start()
    try:
        code, _ = outcome(server, "b", realm.credentials(issue(realm.a, "a")))
        assert code is grpc.StatusCode.OK
        code, _ = outcome(server, "b", realm.credentials())
        assert code is NO_CONNECTION
    finally:
        server.stop()


def test_tls_without_client_certificates_trusts_the_header(database_url: str, realm: Realm) -> None:
    paths = TlsPaths(realm.paths.certificate, realm.paths.key)
    server = Server(database_url, CHANNELS, options=Options(tls=paths))
    server.start()
    try:
        code, _ = outcome(server, "b", realm.credentials())
        assert code is grpc.StatusCode.OK
        stranger = grpc.ssl_channel_credentials(authority("stranger").pem)
        assert outcome(server, "b", stranger)[0] is NO_CONNECTION
        with Member(server.address, "b") as plain, pytest.raises(grpc.RpcError) as refusal:
            plain.call("InfoService/QueryVersion", QueryVersionParam())
        assert refusal.value.code() is NO_CONNECTION
    finally:
        server.stop()


def test_a_connection_without_certificate_is_an_internal_error(realm: Realm) -> None:
    material = Credentials(realm.paths).material
    with pytest.raises(Internal, match="OE0007"):
        verify("a", {}, material)


def test_the_variables_of_the_original_are_enough(
    database_url: str, realm: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = tmp_path / "channels.yaml"
    channels.write_text("channels: {mychannel: [a, b]}\n")
    variables = {
        "ORCHESTRATOR_DATABASE_URL": database_url,
        "ORCHESTRATOR_CHANNEL_CONFIG": str(channels),
        "ORCHESTRATOR_LISTEN": "127.0.0.1:0",
        "ORCHESTRATOR_TX_RETRY_BUDGET": "500ms",
        "ORCHESTRATOR_TLS_ENABLED": "true",
        "ORCHESTRATOR_TLS_CERT_PATH": str(realm.paths.certificate),
        "ORCHESTRATOR_TLS_KEY_PATH": str(realm.paths.key),
        "ORCHESTRATOR_MTLS_ENABLED": "true",
        "ORCHESTRATOR_TLS_SERVER_CA_CERT": str(realm.paths.server_ca),
        "ORCHESTRATOR_TLS_CLIENT_CA_CERT_DIR": str(realm.paths.client_cas),
        "ORCHESTRATOR_VERIFY_CLIENT_MSP_ID": "true",
        "ORCHESTRATOR_REPLAY_EVENTS_BATCH_SIZE": "2",
        "ORCHESTRATOR_GRPC_KEEPALIVE_POLICY_MIN_TIME": "10s",
        "ORCHESTRATOR_GRPC_KEEPALIVE_POLICY_PERMIT_WITHOUT_STREAM": "true",
        "ORCHESTRATOR_METRICS_LISTEN": "127.0.0.1:0",
        "METRICS_ENABLED": "true",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    server = prepare([])
    assert isinstance(server, Server)
    server.start()
    try:
        mine, others = (
            realm.credentials(issue(realm.a, "a")),
            realm.credentials(issue(realm.b, "b")),
        )
        assert outcome(server, "a", mine)[0] is grpc.StatusCode.OK
        assert outcome(server, "a", others)[0] is DENIED
        assert server.metrics_address.startswith("127.0.0.1:")
    finally:
        server.stop()
    monkeypatch.setenv("ORCHESTRATOR_TLS_KEY_PATH", str(realm.paths.certificate))
    refused = prepare([])
    assert isinstance(refused, str)
    assert "no private key" in refused
