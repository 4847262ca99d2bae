"""What is stored is ours exactly when nothing that was sent differs (rule 5)."""

from collections.abc import Callable
from typing import Any

import pytest

from backend.ports.ledger.sameness import is_same
from protos.orchestrator.common_pb2 import NewPermissions
from protos.orchestrator.computetask_pb2 import TASK_ACTION_EXECUTING
from protos.orchestrator.model_pb2 import RegisterModelsParam
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.channel import Channel

BUILT = (1, 4)


@pytest.fixture
def channel() -> Channel:
    return Channel("a", "b")


def _pairs(channel: Channel) -> dict[str, tuple[Any, Any]]:
    """What is sent, and what the ledger makes of it."""
    function = r.new_function(permissions=r.private("b"))
    manager = r.new_data_manager()
    plan = r.new_plan()
    outputs = {"model": r.new_output(r.private("b"))}
    task = r.new_task(plan.key, channel.function(*BUILT), worker="a", outputs=outputs)
    pairs = {
        "function": (function, channel.call("FunctionService/RegisterFunction", function)),
        "manager": (manager, channel.call("DataManagerService/RegisterDataManager", manager)),
        "plan": (plan, channel.call("ComputePlanService/RegisterPlan", plan)),
    }
    (stored,) = channel.register(task)
    pairs["task"] = (task, stored.message)
    channel.act(task.key, TASK_ACTION_EXECUTING)
    model = r.new_model(task.key)
    answer = channel.call("ModelService/RegisterModels", RegisterModelsParam(models=[model]))
    return pairs | {"model": (model, answer.models[0])}


CHANGES: list[tuple[str, Callable[[Any], object]]] = [
    ("function", lambda new: setattr(new, "name", "other")),
    ("function", lambda new: new.inputs["shared"].ClearField("optional")),
    ("function", lambda new: new.new_permissions.authorized_ids.append("a")),
    ("function", lambda new: new.new_permissions.authorized_ids.append("c")),
    ("function", lambda new: setattr(new.new_permissions, "public", True)),
    ("function", lambda new: setattr(new.archive, "checksum", r.checksum())),
    ("manager", lambda new: new.logs_permission.authorized_ids.append("b")),
    ("manager", lambda new: setattr(new, "type", "never stored")),
    ("plan", lambda new: new.metadata.update({"a": "c"})),
    ("plan", lambda new: setattr(new, "tag", "")),
    ("task", lambda new: setattr(new, "worker", "")),
    ("task", lambda new: setattr(new, "worker", "b")),
    ("task", lambda new: setattr(new.outputs["model"], "transient", True)),
    ("task", lambda new: new.outputs["model"].permissions.CopyFrom(NewPermissions())),
    ("task", lambda new: new.outputs["x"].SetInParent()),
    ("task", lambda new: new.inputs.add(identifier="shared", asset_key=r.key())),
    ("model", lambda new: setattr(new.address, "storage_address", "http://h/x")),
]
HARMLESS = {2, 7, 10}  # the owner is added anyway, `type` is not kept, a worker need not be named


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_every_difference_counts_that_the_ledger_keeps(channel: Channel, number: int) -> None:
    what, change = CHANGES[number]
    sent, stored = _pairs(channel)[what]
    assert is_same(sent, stored, "a")
    change(sent)
    assert is_same(sent, stored, "a") is (number in HARMLESS)


def test_what_another_organization_owns_is_not_ours(channel: Channel) -> None:
    for sent, stored in _pairs(channel).values():
        assert not is_same(sent, stored, "b")


def test_a_model_that_was_given_up_meanwhile_is_still_ours(channel: Channel) -> None:
    sent, stored = _pairs(channel)["model"]
    stored.ClearField("address")
    assert is_same(sent, stored, "a")
