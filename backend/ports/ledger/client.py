"""The ledger as this organization sees it: typed calls, one shared channel, retries where they are safe."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

import grpc
from google.protobuf.message import Message
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from backend.kit.crash_points import crash_points
from backend.ports.ledger.connection import Connection
from backend.ports.ledger.errors import LedgerError
from backend.settings import Settings
from protos.orchestrator import (
    computeplan_pb2,
    computetask_pb2,
    datamanager_pb2,
    datasample_pb2,
    event_pb2,
    failure_report_pb2,
    function_pb2,
    info_pb2,
    model_pb2,
    organization_pb2,
    performance_pb2,
    profiling_pb2,
)
from protos.orchestrator.computeplan_pb2_grpc import ComputePlanServiceStub
from protos.orchestrator.computetask_pb2_grpc import ComputeTaskServiceStub
from protos.orchestrator.datamanager_pb2_grpc import DataManagerServiceStub
from protos.orchestrator.datasample_pb2_grpc import DataSampleServiceStub
from protos.orchestrator.event_pb2_grpc import EventServiceStub
from protos.orchestrator.failure_report_pb2_grpc import FailureReportServiceStub
from protos.orchestrator.function_pb2_grpc import FunctionServiceStub
from protos.orchestrator.info_pb2_grpc import InfoServiceStub
from protos.orchestrator.model_pb2_grpc import ModelServiceStub
from protos.orchestrator.organization_pb2_grpc import OrganizationServiceStub
from protos.orchestrator.performance_pb2_grpc import PerformanceServiceStub
from protos.orchestrator.profiling_pb2_grpc import ProfilingServiceStub

ANSWER_S = 30.0
ATTEMPTS = 5
PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0
R = TypeVar("R")


def _pause_s(state: RetryCallState) -> float:
    """Twice as long each time; as long as an overloaded ledger asks for, within reason."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, LedgerError) else None
    return min(asked or PAUSE_S * 2 ** (state.attempt_number - 1), LONGEST_PAUSE_S)


class Ledger:
    """The connection to the ledger, shared by all threads. `on(channel)` gives the calls of one channel."""

    def __init__(self, settings: Settings) -> None:
        """Raises LedgerCertificateError when a certificate file cannot be read."""
        self.msp_id = settings.MSP_ID
        self._connection = Connection(settings)

    def on(self, channel: str) -> "ChannelLedger":
        return ChannelLedger(self._connection, self.msp_id, channel)

    def close(self) -> None:
        self._connection.close()


class ChannelLedger:
    """The ledger's calls in one channel. Each raises LedgerError; requests and answers are the wire's messages.

    A call that did not get through, lost a race or met an overload is repeated for a few seconds; every RPC is
    safe to repeat because a second registration is refused by key (the `registered` helpers of rule 5 turn that
    into success).
    """

    def __init__(self, connection: Connection, msp_id: str, name: str) -> None:
        self._connection = connection
        self.name = name
        self._metadata = (("mspid", msp_id), ("channel", name))

    @property
    def _channel(self) -> grpc.Channel:
        return self._connection.channel

    def _call(
        self, rpc: Callable[[], Callable[..., R]], request: Message, *, attempts: int = ATTEMPTS
    ) -> R:
        """The answer; `rpc` is asked for at each attempt, as the channel may be another one then."""
        for attempt in Retrying(
            retry=retry_if_exception(lambda e: isinstance(e, LedgerError) and e.passing),
            stop=stop_after_attempt(attempts),
            wait=_pause_s,
            reraise=True,
        ):
            with attempt:
                try:
                    crash_points.reach("ledger", request, "before")
                    answer = rpc()(request, metadata=self._metadata, timeout=ANSWER_S)
                    crash_points.reach("ledger", request, "after")
                    return answer
                except grpc.RpcError as error:
                    repeated = attempt.retry_state.attempt_number > 1
                    refused = LedgerError.of(cast("grpc.Call", error), repeated=repeated)
                    if refused.code is grpc.StatusCode.UNAVAILABLE:
                        self._connection.renew()
                    raise refused from None
        raise AssertionError("unreachable")

    # ------------------------------------------------------------------ organizations, information
    def register_organization(self, address: str) -> organization_pb2.Organization:
        request = organization_pb2.RegisterOrganizationParam(address=address)
        return self._call(
            lambda: OrganizationServiceStub(self._channel).RegisterOrganization, request
        )

    def organizations(self) -> Sequence[organization_pb2.Organization]:
        request = organization_pb2.GetAllOrganizationsParam()
        return self._call(
            lambda: OrganizationServiceStub(self._channel).GetAllOrganizations, request
        ).organizations

    def version(self) -> str:
        return self._call(
            lambda: InfoServiceStub(self._channel).QueryVersion,
            info_pb2.QueryVersionParam(),
            attempts=1,
        ).orchestrator

    # ------------------------------------------------------------------ functions
    def register_function(self, new: function_pb2.NewFunction) -> function_pb2.Function:
        return self._call(lambda: FunctionServiceStub(self._channel).RegisterFunction, new)

    def function(self, key: str) -> function_pb2.Function:
        request = function_pb2.GetFunctionParam(key=key)
        return self._call(lambda: FunctionServiceStub(self._channel).GetFunction, request)

    def update_function(self, request: function_pb2.UpdateFunctionParam) -> None:
        self._call(lambda: FunctionServiceStub(self._channel).UpdateFunction, request)

    def apply_function_action(
        self, key: str, action: "function_pb2.FunctionAction.ValueType"
    ) -> None:
        request = function_pb2.ApplyFunctionActionParam(function_key=key, action=action)
        self._call(lambda: FunctionServiceStub(self._channel).ApplyFunctionAction, request)

    # ------------------------------------------------------------------ data
    def register_data_manager(
        self, new: datamanager_pb2.NewDataManager
    ) -> datamanager_pb2.DataManager:
        return self._call(lambda: DataManagerServiceStub(self._channel).RegisterDataManager, new)

    def data_manager(self, key: str) -> datamanager_pb2.DataManager:
        request = datamanager_pb2.GetDataManagerParam(key=key)
        return self._call(lambda: DataManagerServiceStub(self._channel).GetDataManager, request)

    def update_data_manager(self, key: str, name: str) -> None:
        request = datamanager_pb2.UpdateDataManagerParam(key=key, name=name)
        self._call(lambda: DataManagerServiceStub(self._channel).UpdateDataManager, request)

    def register_data_samples(
        self, samples: Sequence[datasample_pb2.NewDataSample]
    ) -> Sequence[datasample_pb2.DataSample]:
        request = datasample_pb2.RegisterDataSamplesParam(samples=samples)
        return self._call(
            lambda: DataSampleServiceStub(self._channel).RegisterDataSamples, request
        ).data_samples

    def update_data_samples(self, keys: Sequence[str], data_manager_keys: Sequence[str]) -> None:
        request = datasample_pb2.UpdateDataSamplesParam(
            keys=keys, data_manager_keys=data_manager_keys
        )
        self._call(lambda: DataSampleServiceStub(self._channel).UpdateDataSamples, request)

    def data_sample(self, key: str) -> datasample_pb2.DataSample:
        """An original ledger gives a sample without data managers one empty key."""
        request = datasample_pb2.GetDataSampleParam(key=key)
        sample = self._call(lambda: DataSampleServiceStub(self._channel).GetDataSample, request)
        linked = [manager for manager in sample.data_manager_keys if manager]
        sample.ClearField("data_manager_keys")
        sample.data_manager_keys.extend(linked)
        return sample

    # ------------------------------------------------------------------ compute plans
    def register_plan(self, new: computeplan_pb2.NewComputePlan) -> computeplan_pb2.ComputePlan:
        return self._call(lambda: ComputePlanServiceStub(self._channel).RegisterPlan, new)

    def plan(self, key: str) -> computeplan_pb2.ComputePlan:
        request = computeplan_pb2.GetComputePlanParam(key=key)
        return self._call(lambda: ComputePlanServiceStub(self._channel).GetPlan, request)

    def update_plan(self, key: str, name: str) -> None:
        request = computeplan_pb2.UpdateComputePlanParam(key=key, name=name)
        self._call(lambda: ComputePlanServiceStub(self._channel).UpdatePlan, request)

    def cancel_plan(self, key: str) -> None:
        request = computeplan_pb2.ApplyPlanActionParam(
            key=key, action=computeplan_pb2.PLAN_ACTION_CANCELED
        )
        self._call(lambda: ComputePlanServiceStub(self._channel).ApplyPlanAction, request)

    def is_plan_running(self, key: str) -> bool:
        request = computeplan_pb2.IsPlanRunningParam(key=key)
        return self._call(
            lambda: ComputePlanServiceStub(self._channel).IsPlanRunning, request
        ).is_running

    # ------------------------------------------------------------------ tasks
    def register_tasks(
        self, tasks: Sequence[computetask_pb2.NewComputeTask]
    ) -> Sequence[computetask_pb2.ComputeTask]:
        request = computetask_pb2.RegisterTasksParam(tasks=tasks)
        return self._call(
            lambda: ComputeTaskServiceStub(self._channel).RegisterTasks, request
        ).tasks

    def task(self, key: str) -> computetask_pb2.ComputeTask:
        request = computetask_pb2.GetTaskParam(key=key)
        return self._call(lambda: ComputeTaskServiceStub(self._channel).GetTask, request)

    def tasks(
        self, filters: computetask_pb2.TaskQueryFilter
    ) -> Iterator[computetask_pb2.ComputeTask]:
        """Every task that the filter names, page by page."""
        token = ""
        while True:
            request = computetask_pb2.QueryTasksParam(
                page_token=token, page_size=500, filter=filters
            )
            answer = self._call(lambda: ComputeTaskServiceStub(self._channel).QueryTasks, request)
            yield from answer.tasks
            token = answer.next_page_token
            if not token:
                return

    def apply_task_action(
        self, key: str, action: "computetask_pb2.ComputeTaskAction.ValueType", log: str = ""
    ) -> None:
        request = computetask_pb2.ApplyTaskActionParam(compute_task_key=key, action=action, log=log)
        self._call(lambda: ComputeTaskServiceStub(self._channel).ApplyTaskAction, request)

    def task_input_assets(self, key: str) -> Sequence[computetask_pb2.ComputeTaskInputAsset]:
        request = computetask_pb2.GetTaskInputAssetsParam(compute_task_key=key)
        return self._call(
            lambda: ComputeTaskServiceStub(self._channel).GetTaskInputAssets, request
        ).assets

    def disable_output(self, task_key: str, identifier: str) -> None:
        request = computetask_pb2.DisableOutputParam(
            compute_task_key=task_key, identifier=identifier
        )
        self._call(lambda: ComputeTaskServiceStub(self._channel).DisableOutput, request)

    # ------------------------------------------------------------------ results
    def register_models(self, models: Sequence[model_pb2.NewModel]) -> Sequence[model_pb2.Model]:
        """None for none: an empty list would end the process of an original ledger."""
        if not models:
            return []
        request = model_pb2.RegisterModelsParam(models=models)
        return self._call(lambda: ModelServiceStub(self._channel).RegisterModels, request).models

    def model(self, key: str) -> model_pb2.Model:
        return self._call(
            lambda: ModelServiceStub(self._channel).GetModel, model_pb2.GetModelParam(key=key)
        )

    def register_performance(
        self, new: performance_pb2.NewPerformance
    ) -> performance_pb2.Performance:
        return self._call(lambda: PerformanceServiceStub(self._channel).RegisterPerformance, new)

    def register_failure_report(
        self, new: failure_report_pb2.NewFailureReport
    ) -> failure_report_pb2.FailureReport:
        return self._call(
            lambda: FailureReportServiceStub(self._channel).RegisterFailureReport, new
        )

    def register_profiling_step(self, step: profiling_pb2.ProfilingStep) -> None:
        self._call(lambda: ProfilingServiceStub(self._channel).RegisterProfilingStep, step)

    # ------------------------------------------------------------------ events
    def subscribe(self, after: str) -> "EventStream":
        """Events strictly after the id `after` (empty: from the beginning), pushed as they come."""
        request = event_pb2.SubscribeToEventsParam(start_event_id=after)
        call = EventServiceStub(self._channel).SubscribeToEvents(
            request, metadata=self._metadata, wait_for_ready=True
        )
        return EventStream(call, self._connection.renew)


class EventStream:
    """An open event stream; iterating blocks, `cancel` from another thread ends it."""

    def __init__(
        self, call: "grpc.CallIterator[event_pb2.Event]", broken: Callable[[], None]
    ) -> None:
        """`broken` is called when the connection fails."""
        self._call = call
        self._broken = broken

    def __iter__(self) -> Iterator[event_pb2.Event]:
        try:
            yield from self._call
        except grpc.RpcError as error:
            refused = LedgerError.of(cast("grpc.Call", error))
            if refused.code is grpc.StatusCode.CANCELLED:
                return
            if refused.code is grpc.StatusCode.UNAVAILABLE:
                self._broken()
            raise refused from None

    def cancel(self) -> None:
        with contextlib.suppress(Exception):
            cast("grpc.Future[object]", self._call).cancel()
