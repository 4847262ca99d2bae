"""The embedded ledger's process: its settings are the network's, whatever the shell holds."""

from pathlib import Path

import pytest

from network.layout import Layout
from network.parts import parts_of
from network.private_files import read_or_create_secret
from network.settings_files import postgres_of, write_all
from network.state import State


def test_settings_of_another_ledger_in_the_shell_do_not_reach_the_networks_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("ORCHESTRATOR_TLS_ENABLED", "ORCHESTRATOR_DATABASE_URL", "METRICS_ENABLED"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    layout = Layout.at(tmp_path / "state")
    layout.make()
    state = State.new(organizations=1, port=8000)
    postgres = postgres_of(layout, state)
    postgres.password_file.parent.mkdir()
    read_or_create_secret(postgres.password_file)
    write_all(layout, state)
    (part,) = [part for part in parts_of(layout, state) if part.role == "orchestrator"]
    assert part.environment["ORCHESTRATOR_DATABASE_URL"].startswith("postgresql://orchestrator:")
    assert part.environment["LOG_LEVEL"] == "DEBUG"
    assert "METRICS_ENABLED" not in part.environment
    assert [name for name in part.environment if name.startswith("ORCHESTRATOR_")] == [
        "ORCHESTRATOR_DATABASE_URL"
    ]
