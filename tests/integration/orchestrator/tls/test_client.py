"""A backend's client over TLS and mutual TLS, with the settings of deployment.md 15."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from backend.ports.ledger.client import ChannelLedger, Ledger
from backend.ports.ledger.connection import LedgerCertificateError
from backend.ports.ledger.errors import LedgerError
from backend.settings import Settings
from orchestrator.server import Options, Server
from orchestrator.tls.paths import TlsPaths
from protos.orchestrator.computeplan_pb2 import NewComputePlan
from tests.integration.orchestrator.tls.certificates import HOUR_AGO, authority, issue
from tests.integration.orchestrator.tls.conftest import CHANNELS, Realm
from tests.unit.orchestrator import requests as r


@contextmanager
def _client(server: Server, folder: Path, realm: Realm, **fields: Any) -> Iterator[ChannelLedger]:
    host, _, port = server.address.rpartition(":")
    authority_file = folder / "authority.crt"
    authority_file.write_bytes(realm.network.pem)
    settings = Settings(
        MSP_ID="a",
        ORCHESTRATOR_HOST=host,
        ORCHESTRATOR_PORT=int(port),
        ORCHESTRATOR_TLS_ENABLED=True,
        ORCHESTRATOR_TLS_SERVER_CACERT_PATH=authority_file,
        **fields,
    )
    ledger = Ledger(settings)
    try:
        yield ledger.on("mychannel")
    finally:
        ledger.close()


def _mutual(folder: Path) -> dict[str, Any]:
    return {
        "ORCHESTRATOR_MTLS_ENABLED": True,
        "ORCHESTRATOR_TLS_CLIENT_CERT_PATH": folder / "tls.crt",
        "ORCHESTRATOR_TLS_CLIENT_KEY_PATH": folder / "tls.key",
    }


def test_mutual_tls_with_the_organizations_certificate(
    guarded: Server, realm: Realm, tmp_path: Path
) -> None:
    issue(realm.a, "a").store(tmp_path / "mine")
    with _client(guarded, tmp_path, realm, **_mutual(tmp_path / "mine")) as ledger:
        ledger.register_organization("http://a.test/org")
        plan = ledger.register_plan(r.new_plan())
        stream = ledger.subscribe("")
        told = iter(stream)
        assert [next(told).asset_key, next(told).asset_key] == ["a", plan.key]
        stream.cancel()


def test_a_certificate_of_another_organization_is_refused_at_once(
    guarded: Server, realm: Realm, tmp_path: Path
) -> None:
    issue(realm.b, "b").store(tmp_path / "mine")
    with _client(guarded, tmp_path, realm, **_mutual(tmp_path / "mine")) as ledger:
        with pytest.raises(LedgerError) as refusal:
            ledger.version()
        assert refusal.value.status_code == 403
        assert not refusal.value.outcome_unknown


def test_a_renewed_certificate_is_used_without_a_restart(
    guarded: Server, realm: Realm, tmp_path: Path
) -> None:
    issue(realm.a, "a", valid=HOUR_AGO).store(tmp_path / "mine")
    with _client(guarded, tmp_path, realm, **_mutual(tmp_path / "mine")) as ledger:
        with pytest.raises(LedgerError) as refusal:
            ledger.version()
        assert refusal.value.code is grpc.StatusCode.UNAVAILABLE
        issue(realm.a, "a").store(tmp_path / "mine")
        ledger.register_organization(
            "http://a.test/org"
        )  # the first attempt still shows the old one
        assert ledger.plan(ledger.register_plan(NewComputePlan(key=r.key(), name="p")).key)


def test_tls_without_a_certificate_of_ones_own(
    database_url: str, realm: Realm, tmp_path: Path
) -> None:
    paths = TlsPaths(realm.paths.certificate, realm.paths.key)
    server = Server(database_url, CHANNELS, options=Options(tls=paths))
    server.start()
    try:
        with _client(server, tmp_path, realm) as ledger:
            assert ledger.version()
        with (
            _client(server, tmp_path, Realm(authority("x"), realm.a, realm.b, paths)) as ledger,
            pytest.raises(LedgerError) as refusal,
        ):
            ledger.version()
        assert refusal.value.status_code == 503
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"ORCHESTRATOR_MTLS_ENABLED": True}, "ORCHESTRATOR_TLS_CLIENT_KEY_PATH is needed"),
        (_mutual(Path("nowhere")), "ORCHESTRATOR_TLS_CLIENT_KEY_PATH: nowhere/tls.key: No such"),
        (
            {"ORCHESTRATOR_TLS_SERVER_CACERT_PATH": Path("none.crt")},
            "ORCHESTRATOR_TLS_SERVER_CACERT_PATH: none.crt: No such",
        ),
    ],
)
def test_files_that_are_missing_are_named_with_their_setting(
    fields: dict[str, Any], text: str
) -> None:
    with pytest.raises(LedgerCertificateError, match=text):
        Ledger(Settings(MSP_ID="a", ORCHESTRATOR_TLS_ENABLED=True, **fields))
