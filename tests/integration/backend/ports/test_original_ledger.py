"""Our client against a ledger that behaves as the original: codes, quirks, answers of a newer version."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from backend.ports.ledger.client import ChannelLedger, Ledger
from backend.ports.ledger.errors import LedgerError
from backend.settings import Settings
from protos.orchestrator import (
    common_pb2,
    computetask_pb2,
    datasample_pb2,
    event_pb2,
    function_pb2,
    info_pb2,
    model_pb2,
)

C = grpc.StatusCode
LOST_RACE = "ERROR: could not serialize access due to concurrent update (SQLSTATE 40001)"
ABORTED = "ERROR: current transaction is aborted, commands ignored (SQLSTATE 25P02)"
FUTURE_FIELD = b"\xfa\x3e\x03new"  # field 1007, which no version has yet


@dataclass
class Script:
    """Answers in order, each bytes or (code, text, trailing metadata); `calls` are (method, headers)."""

    answers: list[Any] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def service(self, details: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls.append((details.method, dict(details.invocation_metadata)))
            given = self.answers.pop(0)
            if isinstance(given, bytes):
                return given
            code, text, *trailing = given
            context.set_trailing_metadata(tuple(trailing))
            context.abort(code, text)
            return b""

        def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            yield from self.answers

        if details.method.endswith("SubscribeToEvents"):
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def ledger(script: Script) -> Iterator[ChannelLedger]:
    server = grpc.server(ThreadPoolExecutor(2))
    handler = type(
        "Handler", (grpc.GenericRpcHandler,), {"service": lambda _, d: script.service(d)}
    )
    server.add_generic_rpc_handlers((handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = Ledger(Settings(MSP_ID="a", ORCHESTRATOR_PORT=port))
    yield client.on("mychannel")
    client.close()
    server.stop(0)


def _done(ledger: ChannelLedger) -> None:
    ledger.apply_task_action("task", computetask_pb2.TASK_ACTION_DONE)


def _models(ledger: ChannelLedger) -> None:
    ledger.register_models([model_pb2.NewModel(key="m")])


@pytest.mark.parametrize(
    "first",
    [
        (C.UNKNOWN, LOST_RACE),
        (C.UNKNOWN, ABORTED),
        (C.UNAVAILABLE, "gone"),
        (C.RESOURCE_EXHAUSTED, "too many requests wait", ("grpc-retry-pushback-ms", "10")),
    ],
)
def test_what_passes_is_repeated(script: Script, ledger: ChannelLedger, first: Any) -> None:
    script.answers = [first, first, b""]
    _done(ledger)
    assert len(script.calls) == 3
    method, headers = script.calls[0]
    assert method == "/orchestrator.ComputeTaskService/ApplyTaskAction"
    assert (headers["mspid"], headers["channel"]) == ("a", "mychannel")


@pytest.mark.parametrize(
    ("answer", "call"),
    [
        ((C.UNKNOWN, "event transitionDone inappropriate in current state STATUS_DONE"), _done),
        ((C.UNKNOWN, "OE0109: compute plan already terminated"), _done),
        ((C.UNKNOWN, 'duplicate key value violates unique constraint "models_pkey"'), _models),
        ((C.RESOURCE_EXHAUSTED, "Received message larger than max (5 vs. 4)"), _models),
        ((C.UNIMPLEMENTED, "unknown method"), _models),
    ],
)
def test_what_is_definite_is_asked_once(
    script: Script, ledger: ChannelLedger, answer: Any, call: Callable[[ChannelLedger], None]
) -> None:
    script.answers = [answer]
    with pytest.raises(LedgerError) as refusal:
        call(ledger)
    assert refusal.value.details == answer[1]
    assert len(script.calls) == 1


def test_an_overloaded_ledger_is_left_alone_as_long_as_it_asks(
    script: Script, ledger: ChannelLedger
) -> None:
    hint = ("grpc-retry-pushback-ms", "600")
    script.answers = [(C.RESOURCE_EXHAUSTED, "too many", hint), b""]
    began = time.monotonic()
    _done(ledger)
    assert 0.6 <= time.monotonic() - began < 5


def test_repeating_ends_and_says_that_nothing_is_decided(
    script: Script, ledger: ChannelLedger
) -> None:
    hint = ("grpc-retry-pushback-ms", "1")
    script.answers = [(C.RESOURCE_EXHAUSTED, "too many", hint)] * 10
    with pytest.raises(LedgerError) as refusal:
        _done(ledger)
    assert refusal.value.outcome_unknown
    assert refusal.value.status_code == 503
    assert len(script.calls) == 5


def test_fields_and_values_of_a_newer_ledger_are_tolerated(
    script: Script, ledger: ChannelLedger
) -> None:
    function = function_pb2.Function(key="f", status=99)  # type: ignore[arg-type]
    version = info_pb2.QueryVersionResponse(orchestrator="9.9.9")
    script.answers = [
        function.SerializeToString() + FUTURE_FIELD,
        version.SerializeToString() + FUTURE_FIELD,
    ]
    assert ledger.function("f").status == 99
    assert ledger.version() == "9.9.9"


def test_a_sample_without_manager_has_none(script: Script, ledger: ChannelLedger) -> None:
    sample = datasample_pb2.DataSample(key="s", data_manager_keys=[""])
    linked = datasample_pb2.DataSample(key="s", data_manager_keys=["m", "n"])
    script.answers = [sample.SerializeToString(), linked.SerializeToString()]
    assert list(ledger.data_sample("s").data_manager_keys) == []
    assert list(ledger.data_sample("s").data_manager_keys) == ["m", "n"]


def test_an_empty_list_of_models_never_reaches_the_ledger(
    script: Script, ledger: ChannelLedger
) -> None:
    assert ledger.register_models([]) == []
    assert script.calls == []


def test_events_of_unknown_kinds_pass_through(script: Script, ledger: ChannelLedger) -> None:
    strange = event_pb2.Event(id="1", asset_kind=99, event_kind=99)  # type: ignore[arg-type]
    known = event_pb2.Event(id="2", asset_kind=common_pb2.ASSET_MODEL)
    script.answers = [
        strange.SerializeToString() + FUTURE_FIELD,
        known.SerializeToString(),
    ]
    assert [event.id for event in ledger.subscribe("")] == ["1", "2"]
