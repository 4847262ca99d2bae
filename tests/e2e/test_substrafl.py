"""SubstraFL's federated averaging through the demo: what `make demo` promises, checked."""

import json
from pathlib import Path

import pytest

from network.demo.main import main
from tests.e2e.conftest import RunningNetwork


def test_demo_trains_together_and_shows_a_refusal(
    network: RunningNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(network.description, json=True, output=tmp_path)
    shown = capsys.readouterr()
    assert code == 0, shown.err
    result = json.loads(shown.out.strip().splitlines()[-1])
    assert result["organizations"] == ["org-1", "org-2"]
    assert result["tasks"] == 21
    assert result["seconds_per_task"] * 21 == pytest.approx(result["train_seconds"], rel=0.01)
    for by_round in result["performances"].values():
        assert len(by_round) == 4
        assert by_round[-1] > 0.93 > by_round[0]
    assert "403" in shown.err
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")
