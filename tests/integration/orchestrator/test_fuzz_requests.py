"""Whatever a member sends gets an answer or a definite refusal, and the ledger goes on.

Messages are made from the protos' descriptors; raw bytes go past the client's own checks. More of them, and
random ones, come with SUBSTRA_RAY_TEST_EFFORT=20.
"""

import string
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from protos.orchestrator.computetask_pb2 import TASK_ACTION_EXECUTING
from protos.orchestrator.datasample_pb2 import UpdateDataSamplesParam
from protos.orchestrator.event_pb2 import Event
from tests.integration.orchestrator.member import METHODS, Member
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.budget import budget

UNARY = sorted(rpc for rpc, (_, method) in METHODS.items() if not method.server_streaming)
STREAM = "EventService/SubscribeToEvents"
DEFINITE = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
}
WEIRD = [
    "",
    "\x00",
    "é" * 60,
    "x" * 101,
    "x" * 70_000,
    "'; DROP TABLE event; --",
    "%s %(key)s {} \\",
    "http://h/\x00",
    "\ud7ff\U0010ffff",
    "0~00000000-0000-0000-0000-000000000000",
    "9" * 25,
    "-1",
]
INTEGERS = [0, 1, -1, 2**31 - 1, -(2**31)]
LONGS = [0, 1, -1, 2**63 - 1, -(2**63), 253402300800]


# ------------------------------------------------------------------ messages from descriptors
def values(field: Any, known: list[str]) -> st.SearchStrategy[Any]:
    """A value of a scalar field."""
    if field.enum_type is not None:
        return st.sampled_from([*field.enum_type.values_by_number, 99, -1, 2**31 - 1])
    if field.type == FieldDescriptor.TYPE_STRING:
        text = st.text(string.printable, max_size=20)
        return st.one_of(st.sampled_from(known), st.sampled_from(WEIRD), text)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return st.floats(width=32)
    if field.type == FieldDescriptor.TYPE_UINT32:
        return st.sampled_from([0, 1, 2, 500, 2**32 - 1])
    return st.sampled_from(LONGS if field.type == FieldDescriptor.TYPE_INT64 else INTEGERS)


@st.composite
def messages(draw: st.DrawFn, kind: type[Message], known: list[str]) -> Message:
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if draw(st.integers(0, 3)):
            _fill(draw, message, field, known)
    return message


def _fill(draw: st.DrawFn, message: Message, field: Any, known: list[str]) -> None:
    target = getattr(message, field.name)
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        name, value = inner.fields_by_name["key"], inner.fields_by_name["value"]
        for _ in range(draw(st.integers(0, 2))):
            key = draw(values(name, known))
            if value.message_type is None:
                target[key] = draw(values(value, known))
            else:
                target[key].CopyFrom(draw(messages(GetMessageClass(value.message_type), known)))
    elif field.is_repeated:
        for _ in range(draw(st.integers(0, 3))):
            if inner is None:
                target.append(draw(values(field, known)))
            else:
                target.add().CopyFrom(draw(messages(GetMessageClass(inner), known)))
    elif inner is not None:
        target.CopyFrom(draw(messages(GetMessageClass(inner), known)))
        target.SetInParent()
    else:
        setattr(message, field.name, draw(values(field, known)))


# ------------------------------------------------------------------ bytes
def nested(depth: int) -> bytes:
    """Groups in groups, none of which any message knows."""
    return b"\x7b" * depth + b"\x7c" * depth


def length(size: int) -> bytes:
    """A varint."""
    data = b""
    while size > 127:
        data += bytes([size & 127 | 128])
        size >>= 7
    return data + bytes([size])


BROKEN: dict[str, bytes] = {
    "cut off": b"\x0a\xff\xff\xff\xff\x0f",
    "endless varint": b"\xff" * 40,
    "field 0": b"\x00\x00",
    "group without end": b"\x0b" * 10,
    "bad UTF-8": b"\x0a\x04\xc3\x28\xff\xfe",
    "surrogate": b"\x0a\x03\xed\xa0\x80",
    "deep groups": nested(10_000),
    "deep messages": b"\x0a" + length(60_000) + b"\x0a\x00" * 30_000,
}


class Line:
    """Sends bytes as they are; `strange` collects what no member may ever see."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.strange: list[tuple[str, str, str]] = []

    def send(self, rpc: str, raw: bytes) -> grpc.StatusCode:
        service, method = METHODS[rpc]
        call: Callable[..., Any] = self._member.channel.unary_unary(f"/{service}/{method.name}")
        try:
            call(raw, metadata=self._member.metadata, timeout=20)
        except grpc.RpcError as error:
            if error.code() not in DEFINITE:
                self.strange.append((rpc, str(error.code()), str(error.details())))
            return error.code()
        return grpc.StatusCode.OK


@pytest.fixture
def line(a: Member) -> Line:
    return Line(a)


@pytest.fixture
def known(a: Member) -> list[str]:
    """Keys, names and texts under which something is really there."""
    plan, function = a.plan(), a.function()
    outputs = {"model": r.new_output(transient=True)}
    task = r.new_task(plan, function, worker="a", outputs=outputs)
    a.register(task)
    a.act(task.key, TASK_ACTION_EXECUTING)
    texts = ["a", "b", "model", "shared", r.checksum(), "http://h/x", "reason", "User action"]
    return [plan, function, task.key, a.model(task.key), r.key(), *texts]


def test_no_message_gets_an_unknown_or_internal_answer(
    a: Member, line: Line, known: list[str]
) -> None:
    assert len(UNARY) == 39  # all but the stream
    kinds = {name: GetMessageClass(METHODS[name][1].input_type) for name in UNARY}

    @budget(900)
    @given(
        st.sampled_from(UNARY).flatmap(lambda n: st.tuples(st.just(n), messages(kinds[n], known)))
    )
    def speak(said: tuple[str, Message]) -> None:
        name, message = said
        line.send(name, message.SerializeToString())

    speak()
    assert line.strange == []
    assert a.plan()


def test_every_call_answers_nothing_at_all(a: Member, line: Line) -> None:
    codes = {rpc: line.send(rpc, b"") for rpc in UNARY}
    assert line.strange == []
    without_content = {"InfoService/QueryVersion", "OrganizationService/GetAllOrganizations"}
    assert {rpc for rpc in without_content if codes[rpc] is not grpc.StatusCode.OK} == set()
    assert codes["ModelService/RegisterModels"] is grpc.StatusCode.FAILED_PRECONDITION
    assert codes["ComputePlanService/IsPlanRunning"] is grpc.StatusCode.INVALID_ARGUMENT
    assert a.plan()


@pytest.mark.parametrize("how", BROKEN)
def test_bytes_that_are_no_message_are_refused_by_every_call(
    a: Member, line: Line, how: str
) -> None:
    codes = {rpc: line.send(rpc, BROKEN[how]) for rpc in UNARY}
    assert line.strange == []
    filled = {rpc: code for rpc, code in codes.items() if METHODS[rpc][1].input_type.fields}
    if "messages" not in how and "UTF-8" not in how and how != "surrogate":
        assert set(filled.values()) == {grpc.StatusCode.INVALID_ARGUMENT}
    with pytest.raises(grpc.RpcError) as refusal:
        next(_subscribe(a, BROKEN[how]))
    assert refusal.value.code() in DEFINITE
    assert a.plan()


def _subscribe(a: Member, raw: bytes) -> Any:
    call = a.channel.unary_stream(f"/orchestrator.{STREAM}", response_deserializer=Event.FromString)
    return call(raw, metadata=a.metadata, timeout=2)


def test_a_refusal_is_never_longer_than_a_client_reads(a: Member, line: Line) -> None:
    """Its text travels as a header: a client ends the call when that is too long, as if it were an overload."""
    long, wide = "x" * 70_000, "\U0001f600" * 10_000
    refused: list[tuple[str, Message]] = [
        ("ComputePlanService/RegisterPlan", r.new_plan(metadata={long: ""})),
        ("ComputePlanService/RegisterPlan", r.new_plan(metadata={wide: ""})),
        ("FunctionService/RegisterFunction", r.new_function(permissions=r.private(wide))),
        (
            "DataSampleService/UpdateDataSamples",
            UpdateDataSamplesParam(keys=[str(number) for number in range(5_000)]),
        ),
    ]
    for rpc, request in refused:
        assert line.send(rpc, request.SerializeToString()) in (
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.FAILED_PRECONDITION,
        )
    assert line.strange == []
    with pytest.raises(
        grpc.RpcError, match="OE0101: computeplan is not valid: metadata: "
    ) as long_one:
        a.call(*refused[0])
    assert (long_one.value.details() or "").endswith("…")


def test_random_bytes_and_bent_messages_do_not_hurt(
    a: Member, line: Line, known: list[str]
) -> None:
    seeds = [
        r.new_function().SerializeToString(),
        r.new_task(known[0], known[1], r.parent(known[2]), worker="a").SerializeToString(),
    ]
    wrapped = [b"\x0a" + length(len(seed)) + seed for seed in seeds]
    place = st.integers(0, 400)
    assert line.send("FunctionService/RegisterFunction", seeds[0]) is grpc.StatusCode.OK

    @budget(300)
    @given(
        st.sampled_from(UNARY), st.sampled_from([*seeds, *wrapped]), place, st.binary(max_size=9)
    )
    def speak(rpc: str, seed: bytes, at: int, bend: bytes) -> None:
        at %= len(seed)
        line.send(rpc, seed[:at] + bend + seed[at + len(bend) :])

    speak()
    assert line.strange == []
    assert a.plan()


def test_huge_requests_are_answered_in_time(a: Member, line: Line) -> None:
    """Near the message limit: one enormous text, very many elements, very many entries."""
    metadata = {str(number): "x" * 90 for number in range(100_000)}
    huge: dict[str, Message] = {
        "ComputePlanService/RegisterPlan": r.new_plan(metadata=metadata),
        "FunctionService/RegisterFunction": r.new_function(name="x" * 30_000_000),
    }
    codes = {rpc: line.send(rpc, request.SerializeToString()) for rpc, request in huge.items()}
    assert codes["FunctionService/RegisterFunction"] is grpc.StatusCode.INVALID_ARGUMENT
    elements = b"\x0a\x00" * 2_000_000
    for rpc in ("ComputeTaskService/RegisterTasks", "ModelService/RegisterModels"):
        assert line.send(rpc, elements) is grpc.StatusCode.INVALID_ARGUMENT
    assert line.strange == []
    assert a.plan()
