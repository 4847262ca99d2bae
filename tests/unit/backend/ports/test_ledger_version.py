"""The ledger's version is asked for by every `/info/` of a user, and rarely asked for again."""

from typing import Any

import pytest

from backend.ports.ledger import client
from backend.ports.ledger.client import Ledger
from backend.settings import Settings


class Scripted:
    """Answers with its versions one after the other; none left means that nobody answers."""

    def __init__(self, *versions: str) -> None:
        self._versions = list(versions)

    def version(self) -> str:
        if not self._versions:
            raise ConnectionError
        return self._versions.pop(0)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    built, scripted = Ledger(Settings()), Scripted("1.0", "1.1")
    monkeypatch.setattr(built, "on", lambda channel: scripted)
    return built


def test_version_is_kept_for_a_while(ledger: Ledger) -> None:
    assert [ledger.recent_version("a") for _ in range(3)] == ["1.0"] * 3


def test_version_is_asked_again_after_a_while(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now[0]

    clock: Any = Clock
    monkeypatch.setattr(client, "time", clock)
    assert ledger.recent_version("a") == "1.0"
    now[0] = client.VERSION_S + 1
    assert ledger.recent_version("a") == "1.1"
    now[0] *= 3
    with pytest.raises(ConnectionError):
        ledger.recent_version("a")
