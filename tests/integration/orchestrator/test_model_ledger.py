"""Random conversations with a real ledger on a real PostgreSQL, against the reference model."""

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import given

from orchestrator import state
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import event_pb2 as e
from protos.orchestrator.computeplan_pb2 import (
    ComputePlan,
    GetComputePlanParam,
    IsPlanRunningParam,
)
from tests.integration.orchestrator.member import Member
from tests.unit.orchestrator.budget import budget
from tests.unit.orchestrator.reference import OK, settled
from tests.unit.orchestrator.scripts import SCRIPTS, Conversation, Step

KINDS = {
    "function": "function",
    "compute_plan": "plan",
    "compute_task": "task",
    "model": "model",
    "compute_task_output_asset": "output of",
}


def line(conversation: Conversation, event: e.Event) -> str:
    """The event in the words of the reference model; the asset inside is the one that the event names."""
    asset = event.WhichOneof("asset") or ""
    what = e.EventKind.Name(event.event_kind).removeprefix("EVENT_ASSET_")
    if asset == "failure_report":
        failed = "function" if event.asset_key in conversation.functions else "task"
        return f"report on {conversation.label(failed, event.asset_key)} {what}"
    if asset != "compute_task_output_asset":
        assert getattr(event, asset).key == event.asset_key
    text = f"{conversation.label(KINDS[asset], event.asset_key)} {what}"
    if asset != "compute_task":
        return text
    task = event.compute_task
    text += " " + t.ComputeTaskStatus.Name(task.status).removeprefix("STATUS_")
    return text if task.outputs else f"{text} slim"


def check(conversation: Conversation, a: Member, after: str) -> str:
    """Everything that a member can see is as the model says; the id of the last event."""
    model = conversation.model
    events = a.events(len(model.events), after)
    assert settled(line(conversation, event) for event in events) == settled(model.events)
    for number, key in enumerate(conversation.tasks):
        task, expected = a.task(key), model.tasks[number]
        status = t.ComputeTaskStatus.Name(task.status).removeprefix("STATUS_")
        assert (status, task.rank) == (expected.status, expected.rank)
    for number, key in enumerate(conversation.plans):
        plan: ComputePlan = a.call("ComputePlanService/GetPlan", GetComputePlanParam(key=key))
        assert plan.HasField("cancelation_date") is (model.plans[number] == "canceled")
        assert plan.HasField("failure_date") is (model.plans[number] == "failed")
        answer = a.call("ComputePlanService/IsPlanRunning", IsPlanRunningParam(key=key))
        assert answer.is_running is model.is_running(number)
    return events[-1].id


@pytest.mark.parametrize("kept", [state.KEPT, 3, 0])
def test_a_ledger_does_what_the_reference_model_says(
    a: Member, b: Member, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the writer keeps few rows in memory, or none: then it reads back what it wrote."""
    monkeypatch.setattr(state, "KEPT", kept)
    assert kept == state.KEPT
    members = {"a": a, "b": b}
    last = a.events(2)[-1].id
    runs = 0

    def send(rpc: str, request: Message, by: str) -> str:
        try:
            members[by].call(rpc, request)
        except grpc.RpcError as error:
            return error.details() or ""
        return OK

    @budget(20)
    @given(SCRIPTS)
    def converse(script: list[Step]) -> None:
        nonlocal last, runs
        runs += 1
        conversation = Conversation(send)
        conversation.run(script)
        last = check(conversation, a, last)

    converse()
    assert runs >= 20
