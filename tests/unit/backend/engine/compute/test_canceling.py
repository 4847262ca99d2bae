"""Canceling many tasks: calls side by side, and none without hope."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import grpc

from backend.engine.compute.canceling import cancel_tasks
from backend.ports.ledger.errors import LedgerError


class FakeLedger:
    """Answers each call as `answer` says, which may raise."""

    def __init__(self, answer: Callable[[str], None]) -> None:
        self._answer = answer
        self.calls: list[str] = []

    def apply_task_action(self, key: str, action: Any, reason: str) -> None:
        self.calls.append(key)
        self._answer(key)


def canceled(answer: Callable[[str], None], tasks: list[UUID]) -> Any:
    ledger = FakeLedger(answer)
    return cancel_tasks(ledger, tasks, "plan canceled"), ledger.calls  # type: ignore[arg-type]


def meeting(count: int) -> Callable[[str], None]:
    """No call is answered before so many were made."""
    together = threading.Barrier(count, timeout=10)

    def answer(key: str) -> None:
        together.wait()

    return answer


def refusing(error: LedgerError, only: UUID | None = None) -> Callable[[str], None]:
    """An answer that raises this error, for one task or for all."""

    def answer(key: str) -> None:
        if only is None or key == str(only):
            raise error

    return answer


ENDED = LedgerError(
    grpc.StatusCode.FAILED_PRECONDITION,
    "event transitionCanceled inappropriate in current state STATUS_DONE",
)
UNKNOWN_TASK = LedgerError(grpc.StatusCode.NOT_FOUND, "OE0101: no such task")
AWAY = LedgerError(grpc.StatusCode.UNAVAILABLE, "away")


def test_calls_are_made_side_by_side() -> None:
    tasks = [uuid4() for _ in range(8)]
    found, _ = canceled(meeting(8), tasks)
    assert found.over == set(tasks)
    assert found.error is None


def test_a_task_that_ended_meanwhile_is_over() -> None:
    tasks = [uuid4(), uuid4()]
    found, _ = canceled(refusing(ENDED), tasks)
    assert found.over == set(tasks)
    assert found.error is None


def test_a_refused_task_leaves_the_others_alone() -> None:
    refused, other = uuid4(), uuid4()
    found, _ = canceled(refusing(UNKNOWN_TASK, refused), [refused, other])
    assert found.over == {other}
    assert found.error is UNKNOWN_TASK


def test_a_ledger_that_does_not_answer_is_not_asked_a_thousand_times() -> None:
    found, calls = canceled(refusing(AWAY), [uuid4() for _ in range(1_000)])
    assert found.over == set()
    assert found.error is AWAY
    assert len(calls) <= 64


def test_stopped_canceling_makes_no_call() -> None:
    ledger = FakeLedger(lambda key: None)
    found = cancel_tasks(ledger, [uuid4()], "plan canceled", lambda: True)  # type: ignore[arg-type]
    assert (found.over, ledger.calls) == (set(), [])
