"""An event is made from stored bytes without parsing them: it is the message that it should be (9.1)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.events import FIELDS, Event, from_row
from orchestrator.state import Kind, NewEvent, Task
from protos.orchestrator import event_pb2 as e
from protos.orchestrator.common_pb2 import ASSET_COMPUTE_TASK, AssetKind
from protos.orchestrator.computetask_pb2 import ComputeTask, ComputeTaskStatus
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import Channel

AT = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
ID = "00000000-0000-4000-8000-000000000000"


def _stored(event: Event) -> list[Any]:
    """The row as the database gives it back, with the task's document joined."""
    channel, position, id_, key, kind, what, moment, reason, payload, _, status, slim = event.row()
    task = event.new.task
    document = task.document if task else None
    return [
        position, id_, key, kind, what, channel, moment, reason, payload, status, slim, document,
    ]  # fmt: skip


def _check(new: NewEvent) -> e.Event:
    """Both ways to the wire give one message, which holds what every event does."""
    event = Event("mychannel", 7, ID, AT, new)
    message = e.Event.FromString(event.wire())
    assert message == from_row(_stored(event))
    assert (message.id, message.channel, message.asset_key) == (ID, "mychannel", new.key)
    assert (message.asset_kind, message.event_kind) == (new.kind, new.event)
    assert message.timestamp.ToDatetime(UTC) == AT
    assert dict(message.metadata) == ({} if new.reason is None else {"reason": new.reason})
    assert message.WhichOneof("asset") == FIELDS[new.kind]
    return message


KINDS = [kind for kind in FIELDS if kind != ASSET_COMPUTE_TASK]


@pytest.mark.parametrize("filled", [True, False], ids=["filled", "empty"])
@pytest.mark.parametrize("kind", KINDS, ids=AssetKind.Name)
def test_an_asset_travels_as_it_is_stored(kind: Kind, filled: bool) -> None:
    payload = getattr(e.Event(), FIELDS[kind])
    payload = type(payload)()
    if filled:
        for field in payload.DESCRIPTOR.fields:
            if field.type == field.TYPE_STRING and not field.is_repeated:
                setattr(payload, field.name, "é" * 200)
    message = _check(NewEvent(kind, e.EVENT_ASSET_CREATED, "key", payload, "reason"))
    assert getattr(message, FIELDS[kind]) == payload


@pytest.mark.parametrize("slim", [True, False])
@pytest.mark.parametrize("status", ComputeTaskStatus.values())
def test_a_task_travels_with_its_status_and_in_cascades_without_its_inputs(
    status: Any, slim: bool
) -> None:
    channel = Channel("a")
    plan, function = channel.plan(), channel.function()
    new = r.new_task(plan, function, worker="a")
    new.metadata.update({str(number): "x" * 90 for number in range(300)})
    (task,) = channel.register(new)
    assert isinstance(task, Task)
    assert task.message is not None
    event = NewEvent(
        ASSET_COMPUTE_TASK,
        e.EVENT_ASSET_UPDATED,
        task.key,
        reason="",
        task=task,
        status=status,
        slim=slim,
    )
    expected = ComputeTask()
    expected.CopyFrom(task.message)
    expected.status = status
    if slim:
        expected.ClearField("inputs")
        expected.ClearField("outputs")
    assert _check(event).compute_task == expected
