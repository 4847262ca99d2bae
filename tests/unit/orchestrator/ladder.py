"""A request with every fault at once: mended one by one, it shows in which order the ledger looks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.message import Message

from orchestrator.errors import Refusal
from tests.unit.orchestrator.channel import Channel


@dataclass
class Call:
    """A call that tests mend: `request` is changed in place, `by` is replaced."""

    rpc: str
    request: Any
    by: str = "a"


Mend = Callable[[Call], object]


@dataclass
class Ladder:
    """`rungs` are (text of the refusal, mend of its cause), in the specification's order."""

    call: Call
    rungs: list[tuple[str, Mend]] = field(default_factory=list)

    def climb(self, channel: Channel) -> Any:
        """Meet every refusal in turn, then the answer. Nothing that is refused leaves a trace."""
        call = self.call
        for text, mend in self.rungs:
            before = len(channel.events)
            with pytest.raises(Refusal) as refusal:
                channel.call(call.rpc, call.request, by=call.by)
            assert str(refusal.value).startswith(text) or text in str(refusal.value), text
            assert len(channel.events) == before
            mend(call)
        return channel.call(call.rpc, call.request, by=call.by)


# ------------------------------------------------------------------ mends
def put(**values: Any) -> Mend:
    """Set fields of the request; messages are copied."""

    def mend(call: Call) -> None:
        change(call.request, **values)

    return mend


def ask_as(organization: str) -> Mend:
    def mend(call: Call) -> None:
        call.by = organization

    return mend


def change(message: Any, **values: Any) -> Any:
    """Set fields of a message: scalars, messages, lists and maps (which are replaced as a whole)."""
    for name, value in values.items():
        target = getattr(message, name)
        if isinstance(value, Message):
            target.CopyFrom(value)
        elif isinstance(value, list):
            del target[:]
            target.extend(value)
        elif isinstance(value, dict):
            message.ClearField(name)
            message.MergeFrom(type(message)(**{name: value}))
        else:
            setattr(message, name, value)
    return message
