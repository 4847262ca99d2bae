"""Anything that parses as a request gets an answer or a definite refusal, and the ledger goes on."""

import random
import string
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.integration.orchestrator.member import METHODS, Member
from tests.unit.orchestrator import requests as r

ROUNDS = 25
WEIRD = [
    "",
    "\x00",
    "é" * 60,
    "x" * 101,
    "x" * 5_000,
    "'; DROP TABLE event; --",
    "%s",
    "http://h/\x00",
    "\ud7ff",
]
UNARY = sorted(rpc for rpc, (_, method) in METHODS.items() if not method.server_streaming)
DEFINITE = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
}


def _text(rng: random.Random, known: list[str]) -> str:
    choice = rng.random()
    if choice < 0.5:
        return rng.choice(known)
    if choice < 0.8:
        return rng.choice(WEIRD)
    return "".join(rng.choices(string.printable, k=rng.randrange(1, 40)))


def _scalar(rng: random.Random, field: Any, known: list[str]) -> object:
    if field.enum_type is not None:
        return rng.choice([*field.enum_type.values_by_number, 99, -1])
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(rng, known)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return rng.choice([0.0, 0.5, float("nan"), float("inf")])
    numbers = [0, 1, 2**31 - 1]
    return rng.choice(
        [*numbers, 2**32 - 1] if field.type == FieldDescriptor.TYPE_UINT32 else numbers
    )


def _fill(rng: random.Random, message: Message, known: list[str]) -> None:
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.25:
            continue
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            kind = field.message_type.fields_by_name["value"]
            for _ in range(rng.randrange(3)):
                if kind.message_type is not None:
                    _fill(rng, value[_text(rng, known)], known)
                else:
                    value[_text(rng, known)] = _scalar(rng, kind, known)
        elif field.is_repeated:
            for _ in range(rng.randrange(4)):
                if field.message_type is not None:
                    _fill(rng, value.add(), known)
                else:
                    value.append(_scalar(rng, field, known))
        elif field.message_type is not None:
            value.SetInParent()
            _fill(rng, value, known)
        else:
            setattr(message, field.name, _scalar(rng, field, known))


@pytest.fixture
def known(a: Member) -> list[str]:
    """Keys, names and texts under which something is really there."""
    plan, function = a.plan(), a.function()
    task = r.new_task(plan, function, worker="a")
    a.register(task)
    return [
        plan,
        function,
        task.key,
        r.key(),
        "a",
        "b",
        "model",
        "shared",
        r.checksum(),
        "http://h/x",
    ]


def test_no_request_gets_an_unknown_or_internal_answer(a: Member, known: list[str]) -> None:
    rng = random.Random(20240101)
    strange: list[tuple[str, str, str]] = []
    for rpc in UNARY:
        kind = GetMessageClass(METHODS[rpc][1].input_type)
        for number in range(ROUNDS):
            request = kind()
            if number:
                _fill(rng, request, known)
            try:
                a.call(rpc, request)
            except grpc.RpcError as error:
                if error.code() not in DEFINITE:
                    strange.append((rpc, str(error.code()), str(error.details())))
    assert strange == []
    assert a.plan()


def test_bytes_that_are_no_message_do_not_hurt(a: Member) -> None:
    name = "/orchestrator.ComputeTaskService/RegisterTasks"
    send = a.channel.unary_unary(name, request_serializer=None, response_deserializer=None)
    for garbage in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x04\x0a\x02\xc3\x28"):
        with pytest.raises(grpc.RpcError):
            send(garbage, metadata=a.metadata, timeout=10)
    assert a.plan()
