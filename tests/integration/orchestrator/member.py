"""A member of a channel: every RPC by name, with the headers of an organization."""

from collections.abc import Iterator
from itertools import islice
from types import TracebackType
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from orchestrator import wire
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import event_pb2, organization_pb2
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.model_pb2 import RegisterModelsParam
from tests.unit.orchestrator import requests as r

METHODS = {
    f"{service.name}/{method.name}": (service.full_name, method)
    for service in wire.services()
    for method in service.methods
}
DEADLINE_S = 60.0
STREAM_S = 180.0  # a stream is open while others work


class Member:
    """`member.call("FunctionService/GetFunction", request)` raises grpc.RpcError as a client sees it."""

    def __init__(
        self,
        address: str,
        organization: str = "a",
        channel: str = "mychannel",
        credentials: "grpc.ChannelCredentials | None" = None,
    ) -> None:
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", wire.MAX_MESSAGE),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 200),
        ]
        self.channel: Any
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options=options)
        else:
            self.channel = grpc.secure_channel(address, credentials, options=options)
        self.metadata = (("mspid", organization), ("channel", channel))
        self.organization = organization

    def __enter__(self) -> "Member":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.channel.close()

    def call(self, rpc: str, request: Message, *, metadata: Any = None, wait: bool = False) -> Any:
        service, method = METHODS[rpc]
        answer = GetMessageClass(method.output_type)
        send = self.channel.unary_unary(
            f"/{service}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        headers = self.metadata if metadata is None else metadata
        return send(request, metadata=headers, timeout=DEADLINE_S, wait_for_ready=wait)

    def subscribe(self, after: str = "", timeout_s: float = STREAM_S) -> Any:
        """The stream; `cancel()` ends it."""
        send = self.channel.unary_stream(
            "/orchestrator.EventService/SubscribeToEvents",
            request_serializer=event_pb2.SubscribeToEventsParam.SerializeToString,
            response_deserializer=event_pb2.Event.FromString,
        )
        request = event_pb2.SubscribeToEventsParam(start_event_id=after)
        return send(request, metadata=self.metadata, timeout=timeout_s)

    def events(self, number: int, after: str = "") -> list[event_pb2.Event]:
        """The next `number` events of a stream."""
        stream = self.subscribe(after)
        found = list(islice(stream, number))
        stream.cancel()
        return found

    # ------------------------------------------------------------------ shortcuts
    def join(self) -> "Member":
        param = organization_pb2.RegisterOrganizationParam(address="http://a.test/org")
        self.call("OrganizationService/RegisterOrganization", param)
        return self

    def plan(self) -> str:
        return str(self.call("ComputePlanService/RegisterPlan", r.new_plan()).key)

    def function(self, *, build: bool = True, **fields: Any) -> str:
        request = r.new_function(**fields)
        self.call("FunctionService/RegisterFunction", request)
        if build:
            self.build(request.key, f.FUNCTION_ACTION_BUILDING, f.FUNCTION_ACTION_READY)
        return request.key

    def build(self, function: str, *actions: Any) -> None:
        for action in actions:
            param = f.ApplyFunctionActionParam(function_key=function, action=action)
            self.call("FunctionService/ApplyFunctionAction", param)

    def register(self, *tasks: t.NewComputeTask) -> list[t.ComputeTask]:
        param = t.RegisterTasksParam(tasks=tasks)
        return list(self.call("ComputeTaskService/RegisterTasks", param).tasks)

    def act(self, task: str, *actions: Any) -> None:
        for action in actions:
            param = t.ApplyTaskActionParam(compute_task_key=task, action=action)
            self.call("ComputeTaskService/ApplyTaskAction", param)

    def model(self, task: str) -> str:
        new = r.new_model(task)
        self.call("ModelService/RegisterModels", RegisterModelsParam(models=[new]))
        return new.key

    def task(self, key: str) -> t.ComputeTask:
        found: t.ComputeTask = self.call("ComputeTaskService/GetTask", t.GetTaskParam(key=key))
        return found


def line(event: event_pb2.Event) -> str:
    """`KIND EVENT` and the status of a task."""
    kind = event_pb2.EventKind.Name(event.event_kind).removeprefix("EVENT_ASSET_")
    text = f"{event.WhichOneof('asset')} {kind}"
    if event.HasField("compute_task"):
        text += " " + t.ComputeTaskStatus.Name(event.compute_task.status).removeprefix("STATUS_")
    return text


def lines(events: Iterator[event_pb2.Event] | list[event_pb2.Event]) -> list[str]:
    return [line(event) for event in events]
