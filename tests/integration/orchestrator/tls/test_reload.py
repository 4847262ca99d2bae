"""Certificate files that change while the ledger runs."""

import shutil
from pathlib import Path

import grpc
import pytest

from orchestrator.server import Server
from orchestrator.tls.material import Credentials
from orchestrator.tls.paths import TlsFileError, TlsPaths
from tests.integration.orchestrator.member import Member
from tests.integration.orchestrator.tls.certificates import authority, issue
from tests.integration.orchestrator.tls.conftest import Realm
from tests.integration.orchestrator.tls.test_certificates import DENIED, NO_CONNECTION, outcome
from tests.integration.orchestrator.waiting import until

OK = grpc.StatusCode.OK


def test_a_renewed_certificate_is_shown_without_a_restart(guarded: Server, realm: Realm) -> None:
    mine = issue(realm.a, "a")
    assert outcome(guarded, "a", realm.credentials(mine))[0] is OK
    renewed = authority("renewed network")
    issue(renewed, "ledger").store(realm.paths.key.parent)
    trusting = grpc.ssl_channel_credentials(renewed.pem, mine.key_pem, mine.pem)
    until(lambda: outcome(guarded, "a", trusting)[0] is OK)
    assert outcome(guarded, "a", realm.credentials(mine))[0] is NO_CONNECTION


def test_an_organization_enters_and_leaves_with_its_folder(guarded: Server, realm: Realm) -> None:
    authority_of_c = authority("authority of c")
    c = realm.credentials(issue(authority_of_c, "c"))
    assert outcome(guarded, "c", c)[0] is NO_CONNECTION
    realm.vouch("c", authority_of_c)
    until(lambda: outcome(guarded, "c", c)[0] is OK)
    with Member(guarded.address, "c", credentials=c) as member:
        stream = member.join().subscribe()
        assert next(stream).asset_key == "c"
        assert realm.paths.client_cas is not None
        shutil.rmtree(realm.paths.client_cas / "c")
        with pytest.raises(grpc.RpcError) as refusal:
            next(stream)
        assert refusal.value.code() is DENIED
        with pytest.raises(grpc.RpcError) as refusal:
            member.plan()  # on the connection that stands
        assert refusal.value.code() is DENIED


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
def test_a_broken_file_leaves_the_old_certificate_in_use(
    guarded: Server, realm: Realm, name: str
) -> None:
    mine = realm.credentials(issue(realm.a, "a"))
    (realm.paths.key.parent / name).write_text("no certificate")
    watched = guarded.watched[0]
    until(lambda: name in watched.failure)
    assert outcome(guarded, "a", mine)[0] is OK


def test_files_that_do_not_fit_together_are_refused_by_name(realm: Realm, tmp_path: Path) -> None:
    other, key = issue(realm.network, "ledger").store(tmp_path / "other")
    with pytest.raises(TlsFileError, match=r"tls\.key does not belong to the certificate"):
        Credentials(TlsPaths(realm.paths.certificate, key))
    empty = tmp_path / "empty"
    empty.write_text("")
    with pytest.raises(TlsFileError, match="empty: no certificate"):
        Credentials(TlsPaths(empty, key))
    with pytest.raises(TlsFileError, match="empty: no private key"):
        Credentials(TlsPaths(other, empty))
    with pytest.raises(FileNotFoundError):
        Credentials(TlsPaths(tmp_path / "none", key))


def test_links_of_mounted_volumes_are_followed_and_their_own_entries_left_out(
    realm: Realm, tmp_path: Path
) -> None:
    assert realm.paths.client_cas is not None
    mounted = realm.paths.client_cas / "mounted"
    real = mounted / "..2024_01_01"
    real.mkdir(parents=True)
    (real / "ca.crt").write_bytes(authority("mounted").pem)
    (mounted / "..data").symlink_to(real.name)
    (mounted / "ca.crt").symlink_to("..data/ca.crt")
    material = Credentials(realm.paths).material
    assert sorted(material.organizations) == ["a", "b", "mounted"]
    assert len(material.organizations["mounted"]) == 1
