"""`substra-ray orchestrator` with wrong input: one clear line, and nothing made."""

import json
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
            "an address such as",
        ),
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
