"""`substra-ray orchestrator` with wrong input: one clear line, and nothing made."""

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app


@pytest.fixture
def channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DATABASE_URL", "CHANNEL_CONFIG", "LISTEN"):
        monkeypatch.delenv(f"ORCHESTRATOR_{name}", raising=False)
    path = tmp_path / "channels.yaml"
    path.write_text("channels: {mychannel: [a, b]}\n")
    return path


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "--channels FILE"),
        (("--channels", "none.yaml", "--state", "new"), 2, "none.yaml: No such file"),
        (("--channels", "{channels}"), 2, "--database URL"),
        (
            ("--channels", "{channels}", "--state", "new", "--database", "postgresql://x"),
            2,
            "not both",
        ),
        (
            ("--channels", "{channels}", "--state", "new", "--listen", "nine"),
            2,
            '--listen (ORCHESTRATOR_LISTEN): give an address such as 127.0.0.1:9000, not "nine"',
        ),
        (
            ("--channels", "{channels}", "--state", "new", "--listen", "no.invalid:9000"),
            1,
            "cannot listen on no.invalid:9000: ",
        ),
        (("--channels", "{channels}", "--database", "x://u:secret@h/d"), 2, "postgresql://"),
        (("backup", "file", "--database", "x://u:secret@h/d"), 2, "postgresql://"),
        (("restore", "{channels}", "--state", "new"), 1, "is damaged, or no backup of a ledger"),
        (("--channels", "{channels}", "--state", "{tmp}"), 1, "holds other files and no ledger"),
        (("--channels", "{channels}", "--state", "{channels}"), 1, "is no folder"),
        (("replay", "--state", "new"), 2, "There is no ledger"),
        (("backup", "file", "--state", "new"), 1, "There is no ledger"),
        (("restore", "none", "--state", "new"), 1, "There is no file none"),
    ],
)
def test_wrong_input_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, channels: Path, words: tuple[str, ...], code: int, text: str
) -> None:
    given = [word.format(channels=channels, tmp=tmp_path) for word in words]
    given = [str(tmp_path / word) if word == "new" else word for word in given]
    done = CliRunner().invoke(app, ["orchestrator", *given])
    assert done.exit_code == code
    assert text in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "secret" not in done.stderr
    assert list(tmp_path.iterdir()) == [channels]


def test_a_networks_folder_is_not_served_by_hand(tmp_path: Path, channels: Path) -> None:
    state = tmp_path / "network"
    state.mkdir()
    (state / "state.json").write_text(json.dumps({"organizations": 2, "workers": 1}))
    (state / "postgres").mkdir()
    words = ["orchestrator", "--channels", str(channels), "--state", str(state)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "belongs to a network" in done.stderr


@pytest.mark.parametrize("option", ["--listen", "--metrics"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_in_use_is_said_before_anything_is_made(
    tmp_path: Path, channels: Path, option: str, host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"{host}:{taken.getsockname()[1]}"
        words = ["--channels", str(channels), "--state", str(tmp_path / "new")]
        words += ["--listen", "127.0.0.1:0", option, address]
        done = CliRunner().invoke(app, ["orchestrator", *words])
    assert done.exit_code == 1
    assert done.stderr == f"cannot listen on {address}: Address already in use\n"
    assert list(tmp_path.iterdir()) == [channels]
