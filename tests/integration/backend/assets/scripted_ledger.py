"""A ledger at the edge of the machine that does what a test tells it: refuse, lose answers, remember.

It decides nothing (the real one has its own tests): tasks are stored as they come, all in one status.
"""

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc

from protos.orchestrator import common_pb2, computeplan_pb2, computetask_pb2
from protos.orchestrator.computeplan_pb2_grpc import (
    ComputePlanServiceServicer,
    add_ComputePlanServiceServicer_to_server,
)
from protos.orchestrator.computetask_pb2_grpc import (
    ComputeTaskServiceServicer,
    add_ComputeTaskServiceServicer_to_server,
)

NOW = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)


class ScriptedLedger(ComputePlanServiceServicer, ComputeTaskServiceServicer):
    def __init__(self) -> None:
        self.plans: dict[str, computeplan_pb2.ComputePlan] = {}
        self.tasks: dict[str, computetask_pb2.ComputeTask] = {}
        self.lost_answers = 0  # so many calls are carried out, and answered with UNAVAILABLE
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.calls: list[str] = []

    def _meet(self, name: str, context: Any) -> None:
        self.calls.append(name)
        if self.refusal is not None:
            context.abort(*self.refusal)

    def _answer(self, answer: Any, context: Any) -> Any:
        if self.lost_answers:
            self.lost_answers -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
        return answer

    @staticmethod
    def _known(assets: Any, key: str, context: Any) -> Any:
        if key not in assets:
            context.abort(grpc.StatusCode.NOT_FOUND, f"OE0002: {key} not found")
        return assets[key]

    def RegisterPlan(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._meet("RegisterPlan", context)
        if request.key in self.plans:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "OE0006: compute plan already exists")
        plan = computeplan_pb2.ComputePlan(
            key=request.key,
            owner="MyOrg1MSP",
            name=request.name,
            tag=request.tag,
            metadata=request.metadata,
        )
        plan.creation_date.FromDatetime(NOW)
        self.plans[request.key] = plan
        return self._answer(plan, context)

    def GetPlan(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._known(self.plans, request.key, context)

    def UpdatePlan(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._meet("UpdatePlan", context)
        self._known(self.plans, request.key, context).name = request.name
        return computeplan_pb2.UpdateComputePlanResponse()

    def ApplyPlanAction(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._meet("ApplyPlanAction", context)
        plan = self._known(self.plans, request.key, context)
        if plan.HasField("cancelation_date"):
            context.abort(grpc.StatusCode.UNKNOWN, "OE0109: compute plan is already terminated")
        plan.cancelation_date.FromDatetime(NOW)
        return self._answer(computeplan_pb2.ApplyPlanActionResponse(), context)

    def RegisterTasks(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._meet("RegisterTasks", context)
        for new in request.tasks:
            if new.key in self.tasks:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f"OE0006: {new.key} already exists")
        tasks = [_stored(new) for new in request.tasks]
        self.tasks |= {task.key: task for task in tasks}
        return self._answer(computetask_pb2.RegisterTasksResponse(tasks=tasks), context)

    def GetTask(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._known(self.tasks, request.key, context)


def _stored(new: Any) -> computetask_pb2.ComputeTask:
    def given(permissions: Any) -> common_pb2.Permissions:
        ids = list(dict.fromkeys([*permissions.authorized_ids, "MyOrg1MSP"]))
        one = common_pb2.Permission(public=permissions.public, authorized_ids=ids)
        return common_pb2.Permissions(process=one, download=one)

    task = computetask_pb2.ComputeTask(
        key=new.key,
        owner="MyOrg1MSP",
        worker=new.worker,
        compute_plan_key=new.compute_plan_key,
        function_key=new.function_key,
        rank=1 if any(i.WhichOneof("ref") == "parent_task_output" for i in new.inputs) else 0,
        status=computetask_pb2.STATUS_WAITING_FOR_EXECUTOR_SLOT,
        metadata=new.metadata,
        inputs=new.inputs,
        outputs={
            name: computetask_pb2.ComputeTaskOutput(
                permissions=given(output.permissions), transient=output.transient
            )
            for name, output in new.outputs.items()
        },
        logs_permission=common_pb2.Permission(public=False, authorized_ids=["MyOrg1MSP"]),
    )
    task.creation_date.FromDatetime(NOW)
    return task


@contextmanager
def running(ledger: ScriptedLedger) -> Iterator[int]:
    """The ledger on a free port of this machine."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    add_ComputePlanServiceServicer_to_server(ledger, server)
    add_ComputeTaskServiceServicer_to_server(ledger, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()
