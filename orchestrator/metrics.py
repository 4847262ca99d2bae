"""Counters with the original's names (orchestrator.md 12.4), at `/metrics` in Prometheus' text form.

Unlike in the original they move after the commit: what was rolled back is not counted as done.
"""

import time
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from functools import cache
from types import TracebackType
from typing import Any

import grpc
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from orchestrator.errors import Refusal
from orchestrator.events import Event
from orchestrator.rules import states
from orchestrator.writer import Writer
from protos.orchestrator.common_pb2 import ASSET_COMPUTE_TASK
from protos.orchestrator.computetask_pb2 import (
    STATUS_BUILDING,
    STATUS_CANCELED,
    STATUS_FAILED,
    STATUS_WAITING_FOR_EXECUTOR_SLOT,
    STATUS_WAITING_FOR_PARENT_TASKS,
    ComputeTaskStatus,
    RegisterTasksParam,
)
from protos.orchestrator.event_pb2 import EVENT_ASSET_CREATED

SIZES = (5, 10, 50, 100, 500, 1_000, 5_000, 10_000)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_METHOD = ("grpc_type", "grpc_service", "grpc_method")
_CASCADES = {
    STATUS_BUILDING: states.BUILDING,
    STATUS_WAITING_FOR_PARENT_TASKS: states.WAITING_PARENT_TASKS,
    STATUS_WAITING_FOR_EXECUTOR_SLOT: states.WAITING_EXECUTOR_SLOT,
    STATUS_FAILED: states.FAILED,
    STATUS_CANCELED: states.CANCELED,
}
"""Transition by which a cascade leads to a status."""


class Metrics:
    """Counters of one server. `listen` makes them readable."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, histogram = self._counter, self._histogram
        self.registered = counter("orc_task_registered", "Tasks registered.", "channel")
        self.batches = histogram(
            "orc_task_registration_batch_size", "Tasks of a registration.", SIZES, "channel"
        )
        self.updated = counter("orc_task_updated", "Status changes of tasks.", "channel", "status")
        self.cascades = histogram(
            "orc_task_update_cascade_size",
            "Tasks moved by a change of something else; status is the transition.",
            SIZES,
            *("channel", "status"),
        )
        self.transactions = counter(
            "orc_db_transaction", "Requests by outcome: commit or rollback.", "method", "outcome"
        )
        self.events_sent = counter("orc_event_sent", "Events sent to subscribers.")
        self.waiting = Gauge(
            "orc_writer_waiting_requests",
            "Requests that wait for the channel's writer.",
            ("channel",),
            registry=self.registry,
        )
        self.leads = Gauge(
            "orc_writer_leads",
            "1 where this process writes the channel.",
            ("channel",),
            registry=self.registry,
        )
        self.started = counter("grpc_server_started", "Calls begun.", *_METHOD)
        self.handled = counter("grpc_server_handled", "Calls ended.", *_METHOD, "grpc_code")
        self.received = counter("grpc_server_msg_received", "Messages received.", *_METHOD)
        self.sent = counter("grpc_server_msg_sent", "Messages sent.", *_METHOD)
        self.seconds = histogram(
            "grpc_server_handling_seconds", "Duration of calls.", SECONDS, *_METHOD
        )
        self._endpoint: Any = None
        self._transaction = cache(self.transactions.labels)

    def call(self, form: str, service: str, method: str) -> "CallMetrics":
        return CallMetrics(self, form, service, method)

    def committed(
        self,
        channel: str,
        outcomes: Iterable[tuple[str, Message, Message | Refusal]],
        events: Sequence[Event],
    ) -> None:
        """What a group of requests led to; `outcomes` are (method, request, answer)."""
        for method, request, outcome in outcomes:
            refused = isinstance(outcome, Refusal)
            self._transaction(method, "rollback" if refused else "commit").inc()
            if isinstance(request, RegisterTasksParam) and not refused:
                self.batches.labels(channel).observe(len(request.tasks))
        registered = 0
        moved: Tally[int] = Tally()
        followed: Tally[tuple[str, str | None]] = Tally()
        for event in events:
            new = event.new
            if new.kind != ASSET_COMPUTE_TASK:
                continue
            if new.event == EVENT_ASSET_CREATED:
                registered += 1
            elif new.status is not None:
                moved[new.status] += 1
                if new.slim and new.status in _CASCADES:
                    followed[_CASCADES[new.status], new.reason] += 1
        if registered:
            self.registered.labels(channel).inc(registered)
        for status, number in moved.items():
            name = ComputeTaskStatus.Name(status)  # type: ignore[arg-type]
            self.updated.labels(channel, name).inc(number)
        for (transition, _), number in followed.items():
            self.cascades.labels(channel, transition).observe(number)

    def watch(self, channel: str, writer: Writer) -> None:
        """Read a writer's gauges whenever somebody asks."""
        self.waiting.labels(channel).set_function(lambda: writer.waiting)
        self.leads.labels(channel).set_function(lambda: float(writer.leads))

    def forget(self, channel: str) -> None:
        """A channel that is gone has no gauges."""
        self.waiting.remove(channel)
        self.leads.remove(channel)

    def listen(self, host: str, port: int) -> int:
        """Serve them over HTTP from a thread; the port that was bound.

        Raises:
            OSError: the address cannot be bound.
        """
        self._endpoint, _ = start_http_server(port, host, self.registry)
        return int(self._endpoint.server_port)

    def close(self) -> None:
        if self._endpoint is not None:
            self._endpoint.shutdown()
            self._endpoint.server_close()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)


class CallMetrics:
    """Counters of one method, looked up once."""

    def __init__(self, metrics: Metrics, *labels: str) -> None:
        self.started = metrics.started.labels(*labels)
        self.received = metrics.received.labels(*labels)
        self.sent_messages = metrics.sent.labels(*labels)
        self.seconds = metrics.seconds.labels(*labels)
        self._events = metrics.events_sent
        self.handled = cache(lambda code: metrics.handled.labels(*labels, _pascal(code)))

    def running(self) -> "Running":
        return Running(self)

    def sent(self) -> None:
        """One event of a stream."""
        self.sent_messages.inc()
        self._events.inc()


class Running:
    """One call. Its code is CANCELLED unless somebody says otherwise before it ends."""

    __slots__ = ("_began", "_counted", "code")

    def __init__(self, counted: CallMetrics) -> None:
        self._counted = counted
        self.code = grpc.StatusCode.CANCELLED

    def __enter__(self) -> "Running":
        self._began = time.perf_counter()
        self._counted.started.inc()
        self._counted.received.inc()
        return self

    def answered(self) -> None:
        """A unary call has its answer."""
        self.code = grpc.StatusCode.OK
        self._counted.sent_messages.inc()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._counted.handled(self.code).inc()
        self._counted.seconds.observe(time.perf_counter() - self._began)


def _pascal(code: grpc.StatusCode) -> str:
    """`NotFound`: codes as Go's libraries print them."""
    if code is grpc.StatusCode.OK:
        return "OK"
    if code is grpc.StatusCode.CANCELLED:
        return "Canceled"
    return "".join(word.capitalize() for word in code.name.split("_"))
