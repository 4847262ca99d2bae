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


def test_calls_are_made_side_by_side() -> None:
    together = threading.Barrier(8, timeout=10)

    def answer(key: str) -> None:
        together.wait()

    tasks = [uuid4() for _ in range(8)]
    found, _ = canceled(answer, tasks)
    assert found.over == set(tasks)
    assert found.error is None


def test_a_task_that_ended_meanwhile_is_over() -> None:
    def answer(key: str) -> None:
        words = "event transitionCanceled inappropriate in current state STATUS_DONE"
        raise LedgerError(grpc.StatusCode.FAILED_PRECONDITION, words)

    tasks = [uuid4(), uuid4()]
    found, _ = canceled(answer, tasks)
    assert found.over == set(tasks)
    assert found.error is None


def test_a_refused_task_leaves_the_others_alone() -> None:
    refused, other = uuid4(), uuid4()

    def answer(key: str) -> None:
        if key == str(refused):
            raise LedgerError(grpc.StatusCode.NOT_FOUND, "OE0101: no such task")

    found, _ = canceled(answer, [refused, other])
    assert found.over == {other}
    assert found.error.details == "OE0101: no such task"


def test_a_ledger_that_does_not_answer_is_not_asked_a_thousand_times() -> None:
    def answer(key: str) -> None:
        raise LedgerError(grpc.StatusCode.UNAVAILABLE, "away")

    found, calls = canceled(answer, [uuid4() for _ in range(1_000)])
    assert found.over == set()
    assert found.error.outcome_unknown
    assert len(calls) <= 64


def test_stopped_canceling_makes_no_call() -> None:
    ledger = FakeLedger(lambda key: None)
    found = cancel_tasks(ledger, [uuid4()], "plan canceled", lambda: True)  # type: ignore[arg-type]
    assert (found.over, ledger.calls) == (set(), [])
