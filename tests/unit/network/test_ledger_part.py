"""The embedded ledger's process: its settings are the network's, whatever the shell holds."""

from pathlib import Path

import pytest

from network.children import Part
from network.layout import Layout
from network.parts import parts_of
from network.private_files import read_or_create_secret
from network.settings_files import postgres_of, write_all
from network.state import State


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    made = Layout.at(tmp_path / "state")
    made.make()
    return made


def _part(layout: Layout, state: State) -> Part:
    postgres = postgres_of(layout, state)
    postgres.password_file.parent.mkdir(exist_ok=True)
    read_or_create_secret(postgres.password_file)
    write_all(layout, state)
    (part,) = [part for part in parts_of(layout, state) if part.role == "orchestrator"]
    return part


def test_settings_of_another_ledger_in_the_shell_do_not_reach_the_networks_own(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ORCHESTRATOR_TLS_ENABLED", "ORCHESTRATOR_DATABASE_URL", "METRICS_ENABLED"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    part = _part(layout, State.new(organizations=1, port=8000))
    assert part.environment["ORCHESTRATOR_DATABASE_URL"].startswith("postgresql://orchestrator:")
    assert part.environment["LOG_LEVEL"] == "DEBUG"
    assert "METRICS_ENABLED" not in part.environment
    assert [name for name in part.environment if name.startswith("ORCHESTRATOR_")] == [
        "ORCHESTRATOR_DATABASE_URL"
    ]


def test_another_organization_replaces_no_ledger(layout: Layout) -> None:
    """It takes the changed channel file over while it runs (orchestrator.md 12.2 wanted a restart)."""
    state = State.new(organizations=2, port=8000)
    before, channels = _part(layout, state), layout.channels_file.read_bytes()
    state.organizations = 3
    state.complete()
    after = _part(layout, state)
    assert layout.channels_file.read_bytes() != channels
    assert after.fingerprint == before.fingerprint
    assert list(after.command()) == list(before.command())
