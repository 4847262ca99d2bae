"""Random conversations: the rules do what the reference model says, in statuses and events."""

from functools import partial

from google.protobuf.message import Message
from hypothesis import given

from orchestrator.errors import Refusal
from protos.orchestrator.computetask_pb2 import ComputeTaskStatus
from tests.unit.orchestrator.budget import budget
from tests.unit.orchestrator.channel import Channel
from tests.unit.orchestrator.reference import OK, settled
from tests.unit.orchestrator.scripts import SCRIPTS, Conversation, Step, line


def _send(channel: Channel, rpc: str, request: Message, by: str) -> str:
    before = len(channel.events)
    try:
        channel.call(rpc, request, by=by)
    except Refusal as refusal:
        assert len(channel.events) == before
        return str(refusal)
    return OK


@budget(300)
@given(SCRIPTS)
def test_rules_do_what_the_reference_model_says(script: list[Step]) -> None:
    channel = Channel("a", "b")

    conversation = Conversation(partial(_send, channel))
    conversation.run(script)
    model = conversation.model
    told = [line(conversation, event) for event in channel.events]
    assert settled(told) == settled(model.events)
    for number, key in enumerate(conversation.tasks):
        task = channel.known.tasks[key]
        assert task.message is not None
        expected = model.tasks[number]
        status = ComputeTaskStatus.Name(task.status)
        assert (status, task.message.rank) == (f"STATUS_{expected.status}", expected.rank)
    for number, key in enumerate(conversation.plans):
        plan = channel.stored_plan(key)
        dates = [name for name in ("cancelation", "failure") if plan.HasField(f"{name}_date")]  # type: ignore[arg-type]
        assert (
            dates
            == {"": [], "canceled": ["cancelation"], "failed": ["failure"]}[model.plans[number]]
        )
