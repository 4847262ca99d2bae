"""The control plane's sign of life, by which a cluster knows that its process goes on."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from backend.engine.actors import __main__ as program


class Plane:
    """Ends the program by a signal once its health has been asked for the third time."""

    def __init__(self, settings_path: Path) -> None:
        self.told = 0
        self.stopped = False
        planes.append(self)

    def start(self) -> None:
        self.told = 0

    def health(self) -> dict[str, bool]:
        self.told += 1
        if self.told == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"scheduler": self.told > 1}

    def stop(self) -> None:
        self.stopped = True


planes: list[Plane] = []


def test_pulse_is_written_until_the_signal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings, pulse = tmp_path / "settings.json", tmp_path / "pulse"
    settings.write_text("{}")
    monkeypatch.setattr(program, "ControlPlane", Plane)
    monkeypatch.setattr(program, "configure", lambda *_, **__: None)
    monkeypatch.setattr(program, "PULSE_S", 0.01)
    words = ["control", "--settings", str(settings), "--pulse", str(pulse)]
    monkeypatch.setattr(sys, "argv", words)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        program.main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert json.loads(pulse.read_text()) == {"scheduler": True}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("pulse")] == ["pulse"]
    assert planes[-1].stopped
    assert planes[-1].told == 3
