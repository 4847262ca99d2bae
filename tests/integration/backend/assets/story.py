"""Ledger events by hand: a story is the stream of one channel, every event a second after the one before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from protos.orchestrator import (
    common_pb2,
    computeplan_pb2,
    computetask_pb2,
    datamanager_pb2,
    datasample_pb2,
    event_pb2,
    failure_report_pb2,
    function_pb2,
    model_pb2,
    organization_pb2,
    performance_pb2,
    profiling_pb2,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
ORG_1, ORG_2 = "MyOrg1MSP", "MyOrg2MSP"
CREATED, UPDATED = event_pb2.EVENT_ASSET_CREATED, event_pb2.EVENT_ASSET_UPDATED
DISABLED = event_pb2.EVENT_ASSET_DISABLED
WAITING_FOR_BUILDER_SLOT = computetask_pb2.STATUS_WAITING_FOR_BUILDER_SLOT
BUILDING = computetask_pb2.STATUS_BUILDING
WAITING_FOR_PARENT_TASKS = computetask_pb2.STATUS_WAITING_FOR_PARENT_TASKS
WAITING_FOR_EXECUTOR_SLOT = computetask_pb2.STATUS_WAITING_FOR_EXECUTOR_SLOT
EXECUTING = computetask_pb2.STATUS_EXECUTING
DONE = computetask_pb2.STATUS_DONE
CANCELED = computetask_pb2.STATUS_CANCELED
FAILED = computetask_pb2.STATUS_FAILED


def key(name: str) -> str:
    """The same key for the same name, in every story."""
    return str(uuid5(NAMESPACE_OID, name))


def uuid(name: str) -> UUID:
    return UUID(key(name))


def permissions(*authorized: str, public: bool = False) -> common_pb2.Permissions:
    permission = common_pb2.Permission(public=public, authorized_ids=authorized)
    return common_pb2.Permissions(process=permission, download=permission)


def address(path: str) -> common_pb2.Addressable:
    return common_pb2.Addressable(checksum="a" * 64, storage_address=f"http://owner.test/{path}")


@dataclass
class Story:
    """Names stand for keys; `events` is what was told so far."""

    channel: str = "mychannel"
    events: list[event_pb2.Event] = field(default_factory=list)
    tasks: dict[str, computetask_pb2.ComputeTask] = field(default_factory=dict)
    plans: dict[str, computeplan_pb2.ComputePlan] = field(default_factory=dict)
    functions: dict[str, function_pb2.Function] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=len(self.events))

    def _tell(self, asset_key: str, event_kind: Any, **asset: Any) -> None:
        event = event_pb2.Event(
            id=key(f"event {self.channel} {len(self.events)}"),
            asset_key=asset_key,
            event_kind=event_kind,
            channel=self.channel,
            **asset,
        )
        event.timestamp.FromDatetime(self.now)
        self.events.append(event)

    def organization(self, name: str) -> None:
        organization = organization_pb2.Organization(id=name, address=f"http://{name}.test")
        organization.creation_date.FromDatetime(self.now)
        self._tell(name, CREATED, organization=organization)

    def function(
        self,
        name: str,
        inputs: Sequence[tuple[str, int]] = (("shared", common_pb2.ASSET_MODEL),),
        outputs: Sequence[tuple[str, int]] = (("model", common_pb2.ASSET_MODEL),),
        owner: str = ORG_1,
    ) -> None:
        function = function_pb2.Function(
            key=key(name),
            name=name,
            owner=owner,
            description=address(f"function/{key(name)}/description/"),
            archive=address(f"function/{key(name)}/file/"),
            permissions=permissions(ORG_1, ORG_2),
            status=function_pb2.FUNCTION_STATUS_WAITING,
            image=common_pb2.Addressable(),
            metadata={"kind": "test"},
        )
        for identifier, kind in inputs:
            function.inputs[identifier].kind = kind  # type: ignore[assignment]
            function.inputs[identifier].multiple = True
            function.inputs[identifier].optional = True
        for identifier, kind in outputs:
            function.outputs[identifier].kind = kind  # type: ignore[assignment]
        function.creation_date.FromDatetime(self.now)
        self.functions[name] = function
        self._tell(key(name), CREATED, function=_copy(function))

    def data_manager(self, name: str, owner: str = ORG_1) -> None:
        manager = datamanager_pb2.DataManager(
            key=key(name),
            name=name,
            owner=owner,
            permissions=permissions(ORG_1, ORG_2),
            description=address(f"data_manager/{key(name)}/description/"),
            opener=address(f"data_manager/{key(name)}/opener/"),
            logs_permission=common_pb2.Permission(public=False, authorized_ids=[owner]),
        )
        manager.creation_date.FromDatetime(self.now)
        self._tell(key(name), CREATED, data_manager=manager)

    def data_sample(self, name: str, *managers: str, owner: str = ORG_1) -> None:
        sample = datasample_pb2.DataSample(
            key=key(name),
            owner=owner,
            data_manager_keys=[key(manager) for manager in managers],
            checksum="b" * 64,
        )
        sample.creation_date.FromDatetime(self.now)
        self._tell(key(name), CREATED, data_sample=sample)

    def function_moves(self, name: str, status: "function_pb2.FunctionStatus.ValueType") -> None:
        self.functions[name].status = status
        self._tell(key(name), UPDATED, function=_copy(self.functions[name]))

    def plan(self, name: str, owner: str = ORG_1, **metadata: str) -> None:
        plan = computeplan_pb2.ComputePlan(
            key=key(name), owner=owner, name=name, tag="t", metadata=metadata
        )
        plan.creation_date.FromDatetime(self.now)
        self.plans[name] = plan
        self._tell(key(name), CREATED, compute_plan=_copy(plan))

    def plan_canceled(self, name: str) -> None:
        self.plans[name].cancelation_date.FromDatetime(self.now)
        self._tell(key(name), UPDATED, compute_plan=_copy(self.plans[name]))

    def plan_renamed(self, name: str, new: str) -> None:
        self.plans[name].name = new
        self._tell(key(name), UPDATED, compute_plan=_copy(self.plans[name]))

    def task(
        self,
        name: str,
        plan: str,
        function: str,
        *,
        status: "computetask_pb2.ComputeTaskStatus.ValueType" = WAITING_FOR_BUILDER_SLOT,
        parents: Iterable[tuple[str, str]] = (),
        assets: Iterable[tuple[str, str]] = (),
        outputs: Iterable[str] = ("model",),
        worker: str = ORG_1,
        rank: int = 0,
        **metadata: str,
    ) -> None:
        """`parents` are (task, output identifier), both feeding the input `shared`; `assets` are
        (input identifier, name)."""
        inputs = [
            computetask_pb2.ComputeTaskInput(
                identifier="shared",
                parent_task_output=computetask_pb2.ParentTaskOutputRef(
                    parent_task_key=key(parent), output_identifier=output
                ),
            )
            for parent, output in parents
        ] + [
            computetask_pb2.ComputeTaskInput(identifier=identifier, asset_key=key(asset))
            for identifier, asset in assets
        ]
        task = computetask_pb2.ComputeTask(
            key=key(name),
            owner=ORG_1,
            compute_plan_key=key(plan),
            function_key=key(function),
            rank=rank,
            status=status,
            worker=worker,
            logs_permission=common_pb2.Permission(public=False, authorized_ids=[ORG_1]),
            metadata=metadata,
            inputs=inputs,
            outputs={
                identifier: computetask_pb2.ComputeTaskOutput(
                    permissions=permissions(ORG_1, ORG_2), transient=False
                )
                for identifier in outputs
            },
        )
        task.creation_date.FromDatetime(self.now)
        self.tasks[name] = task
        self._tell(key(name), CREATED, compute_task=_copy(task))

    def moves(self, name: str, *statuses: "computetask_pb2.ComputeTaskStatus.ValueType") -> None:
        """Events without inputs and outputs, as propagation sends them."""
        for status in statuses:
            self.tasks[name].status = status
            told = _copy(self.tasks[name])
            del told.inputs[:]
            told.outputs.clear()
            self._tell(key(name), UPDATED, compute_task=told)

    def model(self, name: str, task: str, identifier: str = "model") -> None:
        model = self._model(name, task)
        self._tell(key(name), CREATED, model=model)
        self._output(task, identifier, common_pb2.ASSET_MODEL, key(name))

    def model_disabled(self, name: str, task: str) -> None:
        model = self._model(name, task)
        model.ClearField("address")
        self._tell(key(name), DISABLED, model=model)

    def _model(self, name: str, task: str) -> model_pb2.Model:
        model = model_pb2.Model(
            key=key(name),
            compute_task_key=key(task),
            owner=self.tasks[task].worker,
            permissions=permissions(ORG_1, ORG_2),
            address=address(f"model/{key(name)}/file/"),
        )
        model.creation_date.FromDatetime(self.now)
        return model

    def performance(self, task: str, value: float, identifier: str = "performance") -> None:
        performance = performance_pb2.Performance(
            compute_task_key=key(task),
            performance_value=value,
            compute_task_output_identifier=identifier,
        )
        performance.creation_date.FromDatetime(self.now)
        name = f"{key(task)}|{identifier}"
        self._tell(name, CREATED, performance=performance)
        self._output(task, identifier, common_pb2.ASSET_PERFORMANCE, name)

    def _output(self, task: str, identifier: str, kind: Any, asset_key: str) -> None:
        self._tell(
            key(task),
            CREATED,
            compute_task_output_asset=computetask_pb2.ComputeTaskOutputAsset(
                compute_task_key=key(task),
                compute_task_output_identifier=identifier,
                asset_kind=kind,
                asset_key=asset_key,
            ),
        )

    def report(
        self,
        name: str,
        error_type: "failure_report_pb2.ErrorType.ValueType",
        *,
        of_function: bool = False,
        owner: str = ORG_1,
    ) -> None:
        kind = "FAILED_ASSET_FUNCTION" if of_function else "FAILED_ASSET_COMPUTE_TASK"
        report = failure_report_pb2.FailureReport(
            asset_key=key(name),
            error_type=error_type,
            owner=owner,
            asset_type=failure_report_pb2.FailedAssetKind.Value(kind),
        )
        if error_type != failure_report_pb2.ERROR_TYPE_INTERNAL:
            report.logs_address.CopyFrom(address(f"logs/{key(name)}/file/"))
        report.creation_date.FromDatetime(self.now)
        self._tell(key(name), CREATED, failure_report=report)

    def profiling_step(self, function: str, step: str, duration_us: int) -> None:
        told = profiling_pb2.ProfilingStep(asset_key=key(function), step=step, duration=duration_us)
        self._tell(key(function), CREATED, profiling_step=told)


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
