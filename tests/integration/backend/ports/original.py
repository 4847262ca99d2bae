"""What stands in for the original's binary: a ledger with the original's face and all of its quirks.

The rules behind it are our ledger's; codes, texts, races, lost answers, page tokens and streams are those of
orchestrator.md 2.5 to 2.9, 3, 9.3 and 13.1. Health and reflection are not there.
"""

import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, cast

import grpc

from protos.orchestrator.computetask_pb2 import (
    TASK_ACTION_DONE,
    TASK_ACTION_FAILED,
    ApplyTaskActionParam,
    QueryTasksParam,
    QueryTasksResponse,
)
from protos.orchestrator.datasample_pb2 import DataSample

C = grpc.StatusCode
FOUR_MIB = 4 * 1024 * 1024
LATER_FIELD = b"\xfa\x3e\x03new"  # field 1007, which no version has yet
LOST_RACE = "ERROR: could not serialize access due to concurrent update (SQLSTATE 40001)"
ABORTED = (
    "ERROR: current transaction is aborted, commands ignored until end of transaction block"
    " (SQLSTATE 25P02)"
)
DUPLICATE = 'ERROR: duplicate key value violates unique constraint "{}" (SQLSTATE 23505)'
NOT_A_NUMBER = 'strconv.Atoi: parsing "{}": invalid syntax'
CLOSED = "conn closed"
READING = ("Get", "Query", "IsPlanRunning")
STREAM = "/orchestrator.EventService/SubscribeToEvents"
PAGE = 50
EVENTS_A_STREAM = 5
"""After so many events the original's connection to its database breaks, and the stream with it."""


class Serves(Protocol):
    @property
    def address(self) -> str: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Original(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Started and stopped in place of the ledger behind it. `told` counts what it did to its callers.

    The first attempt of each change loses a race; of every third change the answer is lost after the commit.
    """

    def __init__(self, behind: Serves) -> None:
        self._behind = behind
        self._lock = threading.Lock()
        self._raced: set[bytes] = set()
        self._changes = 0
        self.calm = False
        """While True no race is lost, and no answer: for what a test only needs to have."""
        self.told: Counter[str] = Counter()
        self._server = grpc.server(
            ThreadPoolExecutor(16),
            options=[("grpc.max_receive_message_length", FOUR_MIB), ("grpc.so_reuseport", 0)],
        )
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def start(self) -> None:
        self._behind.start()
        self._channel = grpc.insecure_channel(
            self._behind.address,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_receive_message_length", -1),
            ],
        )
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()
        self._channel.close()
        self._behind.stop()

    # ------------------------------------------------------------------ calls
    def service(self, details: Any) -> "grpc.RpcMethodHandler[Any, Any] | None":
        method, headers = details.method, tuple(details.invocation_metadata)
        if not method.startswith("/orchestrator."):
            return None
        if method == STREAM:
            return grpc.unary_stream_rpc_method_handler(
                lambda request, context: self._stream(request, context, headers)
            )
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._answer(method, request, context, headers)
        )

    def _answer(self, method: str, request: bytes, context: Any, headers: Any) -> bytes:
        name = method.rpartition("/")[2]
        if name == "QueryTasks":
            return self._page(method, request, context, headers) + LATER_FIELD
        change = not name.startswith(READING) and name != "RegisterOrganization" and not self.calm
        if change:
            self._race(name, request, context)
        answer = self._ask(method, request, context, headers)
        if change and self._loses_answer():
            self._end(context, "answer lost", C.UNAVAILABLE, "transport is closing")
        if name == "GetDataSample" and not DataSample.FromString(answer).data_manager_keys:
            answer = DataSample(data_manager_keys=[""]).SerializeToString() + answer
        return answer + LATER_FIELD

    def _race(self, name: str, request: bytes, context: Any) -> None:
        """The first attempt loses; DONE and FAILED with another text (orchestrator.md 13.1)."""
        with self._lock:
            first = request not in self._raced
            self._raced.add(request)
        if not first:
            return
        text = LOST_RACE
        if name == "ApplyTaskAction":
            action = ApplyTaskActionParam.FromString(request).action
            text = ABORTED if action in (TASK_ACTION_DONE, TASK_ACTION_FAILED) else LOST_RACE
        self._end(context, "race", C.UNKNOWN, text)

    def _loses_answer(self) -> bool:
        with self._lock:
            self._changes += 1
            return self._changes % 3 == 0

    def _ask(self, method: str, request: bytes, context: Any, headers: Any) -> bytes:
        call = self._channel.unary_unary(method, None, None)
        try:
            answer: bytes = call(request, metadata=headers, timeout=30)
        except grpc.RpcError as error:
            said = cast("grpc.Call", error)
            code, text = as_the_original(said.code(), said.details() or "")
            self._end(context, code.name, code, text)
        return answer

    def _page(self, method: str, request: bytes, context: Any, headers: Any) -> bytes:
        """Tokens are decimal offsets, and nothing else is one."""
        asked = QueryTasksParam.FromString(request)
        if asked.page_token and not asked.page_token.isdigit():
            self._end(context, "token", C.UNKNOWN, NOT_A_NUMBER.format(asked.page_token))
        start, size = int(asked.page_token or 0), asked.page_size or PAGE
        every = QueryTasksParam(filter=asked.filter, page_size=10_000)
        found = QueryTasksResponse()
        while True:
            answer = QueryTasksResponse.FromString(
                self._ask(method, every.SerializeToString(), context, headers)
            )
            found.tasks.extend(answer.tasks)
            if not answer.next_page_token:
                break
            every.page_token = answer.next_page_token
        more = start + size < len(found.tasks)
        page = QueryTasksResponse(
            tasks=found.tasks[start : start + size],
            next_page_token=str(start + size) if more else "",
        )
        self.told["page"] += 1
        return page.SerializeToString()

    # ------------------------------------------------------------------ events
    def _stream(self, request: bytes, context: Any, headers: Any) -> Iterator[bytes]:
        """Errors of a stream are never mapped, and it breaks with its database connection."""
        events = self._channel.unary_stream(STREAM, None, None)(request, metadata=headers)
        context.add_callback(events.cancel)
        try:
            for number, event in enumerate(events, start=1):
                yield event + LATER_FIELD
                if number == EVENTS_A_STREAM:
                    self._end(context, "stream broken", C.UNKNOWN, CLOSED)
        except grpc.RpcError as error:
            ended = cast("grpc.Call", error)
            if ended.code() is C.NOT_FOUND:
                self._end(context, "start unknown", C.UNKNOWN, "no rows in result set")
            self._end(context, "stream ended", C.UNKNOWN, ended.details() or CLOSED)

    def _end(self, context: Any, what: str, code: grpc.StatusCode, text: str) -> None:
        self.told[what] += 1
        context.abort(code, text)


def as_the_original(code: grpc.StatusCode, text: str) -> tuple[grpc.StatusCode, str]:
    """A refusal of ours as the original words it (orchestrator.md 2.6, 2.7, 4.3)."""
    if "inappropriate in current state" in text or text.startswith(("OE0108", "OE0109")):
        return C.UNKNOWN, text
    if text.startswith("OE0006") and "storage address" in text:
        return C.UNKNOWN, DUPLICATE.format("addressables_pkey")
    if text.startswith("OE0006: model with"):
        return C.UNKNOWN, DUPLICATE.format("models_pkey")
    if code in (C.UNAVAILABLE, C.DEADLINE_EXCEEDED, C.RESOURCE_EXHAUSTED):
        return code, text
    return (code, text) if text.startswith("OE") else (C.UNKNOWN, text)


def unknown_event() -> str:
    return str(uuid.uuid4())
