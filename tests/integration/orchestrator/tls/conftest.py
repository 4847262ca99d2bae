"""A ledger with mutual TLS and the check of organizations, its certificate files in a folder of the test."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from orchestrator.server import Options, Server
from orchestrator.tls.paths import TlsPaths
from tests.integration.orchestrator.conftest import MEMBERS
from tests.integration.orchestrator.tls.certificates import Issued, authority, issue

CHANNELS = {"mychannel": MEMBERS}


@dataclass(frozen=True)
class Realm:
    """Authorities of the network and of two organizations; `paths` are the server's files."""

    network: Issued
    a: Issued
    b: Issued
    paths: TlsPaths

    def vouch(self, organization: str, issued: Issued, name: str = "ca.crt") -> None:
        """Put an authority into an organization's folder."""
        assert self.paths.client_cas is not None
        folder = self.paths.client_cas / organization
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(issued.pem)

    def credentials(self, *chain: Issued) -> "grpc.ChannelCredentials":
        """A client's: trusts the network's authority, shows this chain (leaf first) or nothing."""
        if not chain:
            return grpc.ssl_channel_credentials(self.network.pem)
        shown = b"".join(issued.pem for issued in chain)
        return grpc.ssl_channel_credentials(self.network.pem, chain[0].key_pem, shown)


@pytest.fixture
def realm(tmp_path: Path) -> Realm:
    network = authority("network")
    certificate, key = issue(network, "ledger").store(tmp_path / "server")
    server_ca = tmp_path / "server" / "ca.crt"
    server_ca.write_bytes(network.pem)
    paths = TlsPaths(certificate, key, server_ca, tmp_path / "clients")
    made = Realm(network, authority("authority of a"), authority("authority of b"), paths)
    made.vouch("a", made.a)
    made.vouch("b", made.b)
    return made


@pytest.fixture
def guarded(database_url: str, realm: Realm) -> Iterator[Server]:
    """Mutual TLS, and every certificate must speak for its organization."""
    options = Options(tls=realm.paths, verify_msp_id=True)
    server = Server(database_url, CHANNELS, options=options)
    server.start()
    yield server
    server.stop()
