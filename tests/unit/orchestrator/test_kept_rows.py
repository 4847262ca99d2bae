"""What the writer keeps in memory between two groups is limited in number and in bytes."""

import pytest
from google.protobuf.message import Message

from orchestrator import state
from orchestrator.state import ROW_BYTES, Kept, Task
from protos.orchestrator.computeplan_pb2 import ComputePlan
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import Channel


def _plans(number: int, size: int) -> Kept[Message]:
    kept: Kept[Message] = Kept()
    for place in range(number):
        kept.setdefault(str(place), ComputePlan(name="x" * size))
    return kept


def test_rows_used_longest_ago_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "KEPT", 3)
    kept = _plans(5, 1)
    kept.move_to_end("0")
    kept.shrink()
    assert list(kept) == ["3", "4", "0"]


def test_large_rows_go_although_they_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "KEPT_BYTES", 10_000)
    kept = _plans(5, 3_000)
    kept["4"] = ComputePlan(name="x" * 4_000)
    kept.shrink()
    assert list(kept) == ["3", "4"]
    assert kept.bytes == sum(ROW_BYTES + plan.ByteSize() for plan in kept.values())
    kept.clear()
    assert kept.bytes == 0


def test_a_task_counts_with_its_document_as_soon_as_it_has_one() -> None:
    channel = Channel("a")
    (task,) = channel.register(r.new_task(channel.plan(), channel.function(), worker="a"))
    kept: Kept[Task] = Kept()
    document, task.document = task.document, None
    kept[task.key] = task
    assert kept.bytes == ROW_BYTES
    task.document = document
    kept[task.key] = task
    assert document is not None
    assert kept.bytes == ROW_BYTES + len(document)
