"""What a network keeps, the files that follow from it, and what it refuses to touch."""

import json
import os
import stat
from pathlib import Path

import pytest

from backend.engine.images.stand_ins import network_environment, readable_places
from backend.settings import Settings
from network import control, settings_files
from network.layout import Layout, UnusableFolder
from network.ports import free_port, is_free
from network.run_environment import capture
from network.state import RANGES, State, UnusableState
from tests.unit.network.doubles import listener


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path)[:40] if len(str(tmp_path)) < 40 else "")
    made = Layout.at(tmp_path / "state")
    made.make()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_state_is_private_and_read_back(layout: Layout) -> None:
    state = State.new(organizations=2, port=8000, workers=3)
    state.save(layout)
    assert mode(layout.state_file) == 0o600
    assert State.load(layout) == state


def test_no_state_is_none(layout: Layout) -> None:
    assert State.load(layout) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"organizations": 0, "workers": 1}'])
def test_damaged_state_is_refused_with_the_way_out(layout: Layout, content: str) -> None:
    layout.state_file.write_text(content)
    with pytest.raises(UnusableState, match="--purge"):
        State.load(layout)


def test_state_of_a_newer_version_is_refused(layout: Layout) -> None:
    state = State.new(organizations=1, port=8000)
    state.schema_version = 99
    state.save(layout)
    with pytest.raises(UnusableState, match="newer version"):
        State.load(layout)


def test_every_port_is_chosen_once() -> None:
    state = State.new(organizations=3, port=8000)
    taken = [state.port]
    for use, first in state.ports.items():
        taken += range(first, first + RANGES.get(use, 1))
    assert len(taken) == len(set(taken))


def test_a_third_organization_changes_no_port_and_no_secret() -> None:
    state = State.new(organizations=2, port=8000)
    ports, secrets = dict(state.ports), dict(state.secrets)
    state.organizations = 3
    state.complete()
    assert state.ports.items() >= ports.items()
    assert state.secrets.items() >= secrets.items()
    assert "api-org-3" in state.ports
    assert state.peer_secret("org-3", "org-1") != state.peer_secret("org-1", "org-3")


def test_only_a_port_that_somebody_took_is_chosen_again() -> None:
    state = State.new(organizations=1, port=8000)
    before = dict(state.ports)
    with listener(state.ports["orchestrator"]):
        assert state.replace_busy_ports() == ["orchestrator"]
    changed = {use for use, port in state.ports.items() if before[use] != port}
    assert changed == {"orchestrator"}


def test_busy_port_is_seen() -> None:
    port = free_port()
    assert is_free(port)
    with listener(port):
        assert not is_free(port)


def test_settings_are_those_of_the_samples(layout: Layout) -> None:
    state = State.new(organizations=4, port=8123, workers=2)
    (layout.postgres).mkdir()
    (layout.postgres / "password").write_text("secret")
    settings_files.write_all(layout, state)
    second = Settings.read(layout.settings_file("org-2"))
    assert mode(layout.settings_file("org-2")) == 0o600
    assert (second.NAME, second.ORG_NAME, second.MSP_ID) == ("org-2", "MyOrg2", "MyOrg2MSP")
    assert second.DEFAULT_DOMAIN == "http://127.0.0.1:8123/org-2"
    assert second.prefix == "/org-2"
    assert set(second.CHANNELS) == {"mychannel", "yourchannel"}
    assert all(channel.model_export_enabled for channel in second.CHANNELS.values())
    assert [(u.username, u.password, u.channel) for u in second.USERS] == [
        ("org-2", "p@sswr0d45", "mychannel"),
        ("org-2-yourchannel", "p@sswr0d45", "yourchannel"),
    ]
    assert settings_files.password("org-4") == "p@sswr0d47"
    assert second.RUNNER_API_URL.endswith(f":{state.ports['api-org-2']}/org-2")


def test_secrets_of_two_organizations_mirror_each_other(layout: Layout) -> None:
    state = State.new(organizations=2, port=8000)
    (layout.postgres).mkdir()
    (layout.postgres / "password").write_text("secret")
    settings_files.write_all(layout, state)
    one, two = (Settings.read(layout.settings_file(name)) for name in ("org-1", "org-2"))
    assert one.PEERS["MyOrg2MSP"].outgoing == two.PEERS["MyOrg1MSP"].incoming
    assert one.PEERS["MyOrg2MSP"].incoming == two.PEERS["MyOrg1MSP"].outgoing
    assert one.SECRET_KEY != two.SECRET_KEY
    assert one.database_url != two.database_url
    assert mode(layout.ray_token_file) == mode(layout.network_file) == 0o600
    members = json.loads(layout.channels_file.read_text())["channels"]
    assert members == {
        channel: ["MyOrg1MSP", "MyOrg2MSP"] for channel in ("mychannel", "yourchannel")
    }


def test_network_file_has_what_a_client_needs() -> None:
    state = State.new(organizations=1, port=8000)
    content = settings_files.network_of(state)
    assert content["organizations"] == [
        {
            "name": "org-1",
            "msp_id": "MyOrg1MSP",
            "url": "http://127.0.0.1:8000/org-1",
            "username": "org-1",
            "password": "p@sswr0d44",
        }
    ]
    assert set(content) == {"organizations", "orchestrator", "dashboard"}


def test_run_folder_is_short_however_long_the_state_path() -> None:
    layout = Layout.at(Path("/" + "/".join(["a" * 50] * 3)))
    assert len(str(layout.run)) <= 60
    assert layout.run != Layout.at(Path("/elsewhere")).run


def test_run_folder_of_somebody_else_is_never_used(layout: Layout, tmp_path: Path) -> None:
    layout.run.rmdir()
    (tmp_path / "trap").mkdir()
    layout.run.symlink_to(tmp_path / "trap")
    try:
        with pytest.raises(UnusableFolder, match="somebody else"):
            layout.make_run_folder()
    finally:
        layout.run.unlink()


def test_a_folder_with_other_files_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    before = mode(tmp_path)
    with pytest.raises(UnusableFolder, match="--state"):
        control.prepare(Layout.at(tmp_path))
    assert mode(tmp_path) == before


def test_purge_leaves_what_is_not_the_networks(layout: Layout) -> None:
    State.new(organizations=1, port=8000).save(layout)
    (layout.state / "notes.txt").write_text("mine")
    control.purge(layout)
    assert os.listdir(layout.state) == ["notes.txt"]  # noqa: PTH208


def test_run_lines_learn_no_password_of_an_index() -> None:
    environment = {
        "PIP_INDEX_URL": "https://me:secret@index.example/simple",
        "UV_INDEX": "own=https://token@index.example/a https://index.example/b",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "NO_PROXY": "",
    }
    assert capture(environment) == {
        "PIP_INDEX_URL": "https://index.example/simple",
        "UV_INDEX": "own=https://index.example/a https://index.example/b",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }


def test_run_lines_know_a_private_authority_by_every_usual_name() -> None:
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
    given = dict.fromkeys(names, "/etc/own/ca.pem")
    seen = network_environment(capture({**given, "HOME": "/home/me"}))
    assert {name: seen.get(name) for name in names} == given
    assert "HOME" not in seen
    assert readable_places(given) == ["/etc/own/ca.pem"]
    folders = {"SSL_CERT_DIR": "/etc/own:/etc/ssl/certs", "PIP_FIND_LINKS": "https://x:1/y /wheels"}
    assert readable_places(folders) == ["/etc/own", "/etc/ssl/certs", "/wheels"]
