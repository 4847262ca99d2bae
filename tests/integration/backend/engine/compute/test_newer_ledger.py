"""Statuses that this version does not know: nothing stops, and nothing is decided by them."""

from typing import Any

import grpc
import pytest

from backend.ports.ledger.client import ChannelLedger
from backend.ports.ledger.errors import LedgerError
from protos.orchestrator import computetask_pb2
from tests.integration.backend.engine.world import World, eventually


def refuse(*_arguments: Any) -> None:
    raise LedgerError(grpc.StatusCode.FAILED_PRECONDITION, "OE0003: not in that status")


def test_a_status_of_a_newer_ledger_puts_the_report_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, session = world.task(world.plan(), world.function()), world.session()
    result = world.result(world.lease(session))
    newer = computetask_pb2.ComputeTask(key=str(task), status=99)  # type: ignore[arg-type]
    monkeypatch.setattr(ChannelLedger, "register_models", refuse)
    monkeypatch.setattr(ChannelLedger, "task", lambda _self, _key: newer)
    world.give(session, result)
    monkeypatch.undo()
    assert world.one("SELECT last_error FROM outbox").last_error == "the task was STATUS_UNKNOWN"
    world.expire()
    eventually(world.reporter.resume, "reported")
    assert world.status(task) == "STATUS_DONE"
