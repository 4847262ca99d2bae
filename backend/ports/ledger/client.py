"""The ledger as this organization sees it: typed calls, one shared channel, retries where they are safe."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

import grpc
from google.protobuf.message import Message
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

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

MAX_MESSAGE = 64 * 1024 * 1024
ANSWER_S = 30.0
R = TypeVar("R")


def _transient(error: BaseException) -> bool:
    return isinstance(error, LedgerError) and error.code is grpc.StatusCode.UNAVAILABLE


class Ledger:
    """One gRPC channel to the ledger, shared by all threads. `on(channel)` gives the calls of one channel."""

    def __init__(self, settings: Settings) -> None:
        self.msp_id = settings.MSP_ID
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 0),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
        ]
        target = f"{settings.ORCHESTRATOR_HOST}:{settings.ORCHESTRATOR_PORT}"
        if settings.ORCHESTRATOR_TLS_ENABLED:
            self._channel = grpc.secure_channel(target, _credentials(settings), options=options)
        else:
            self._channel = grpc.insecure_channel(target, options=options)

    def on(self, channel: str) -> "ChannelLedger":
        return ChannelLedger(self._channel, self.msp_id, channel)

    def close(self) -> None:
        self._channel.close()


class ChannelLedger:
    """The ledger's calls in one channel. Each raises LedgerError; requests and answers are the wire's messages.

    An UNAVAILABLE call is repeated for a few seconds; every RPC here is safe to repeat because a second
    registration is refused by key (the `registered` helpers of rule 5 turn that into success).
    """

    def __init__(self, channel: grpc.Channel, msp_id: str, name: str) -> None:
        self._channel = channel
        self.name = name
        self._metadata = (("mspid", msp_id), ("channel", name))

    def _call(self, rpc: Callable[..., R], request: Message, *, attempts: int = 4) -> R:
        for attempt in Retrying(
            retry=retry_if_exception(_transient),
            stop=stop_after_attempt(attempts),
            wait=wait_exponential(multiplier=0.2, max=2),
            reraise=True,
        ):
            with attempt:
                try:
                    return rpc(request, metadata=self._metadata, timeout=ANSWER_S)
                except grpc.RpcError as error:
                    call = cast("grpc.Call", error)
                    raise LedgerError(
                        call.code(),
                        call.details() or "",
                        repeated=attempt.retry_state.attempt_number > 1,
                    ) from None
        raise AssertionError("unreachable")

    # ------------------------------------------------------------------ organizations, information
    def register_organization(self, address: str) -> organization_pb2.Organization:
        request = organization_pb2.RegisterOrganizationParam(address=address)
        return self._call(OrganizationServiceStub(self._channel).RegisterOrganization, request)

    def organizations(self) -> Sequence[organization_pb2.Organization]:
        request = organization_pb2.GetAllOrganizationsParam()
        stub = OrganizationServiceStub(self._channel)
        return self._call(stub.GetAllOrganizations, request).organizations

    def version(self) -> str:
        stub = InfoServiceStub(self._channel)
        return self._call(stub.QueryVersion, info_pb2.QueryVersionParam(), attempts=1).orchestrator

    # ------------------------------------------------------------------ functions
    def register_function(self, new: function_pb2.NewFunction) -> function_pb2.Function:
        return self._call(FunctionServiceStub(self._channel).RegisterFunction, new)

    def function(self, key: str) -> function_pb2.Function:
        request = function_pb2.GetFunctionParam(key=key)
        return self._call(FunctionServiceStub(self._channel).GetFunction, request)

    def update_function(self, request: function_pb2.UpdateFunctionParam) -> None:
        self._call(FunctionServiceStub(self._channel).UpdateFunction, request)

    def apply_function_action(
        self, key: str, action: "function_pb2.FunctionAction.ValueType"
    ) -> None:
        request = function_pb2.ApplyFunctionActionParam(function_key=key, action=action)
        self._call(FunctionServiceStub(self._channel).ApplyFunctionAction, request)

    # ------------------------------------------------------------------ data
    def register_data_manager(
        self, new: datamanager_pb2.NewDataManager
    ) -> datamanager_pb2.DataManager:
        return self._call(DataManagerServiceStub(self._channel).RegisterDataManager, new)

    def data_manager(self, key: str) -> datamanager_pb2.DataManager:
        request = datamanager_pb2.GetDataManagerParam(key=key)
        return self._call(DataManagerServiceStub(self._channel).GetDataManager, request)

    def update_data_manager(self, key: str, name: str) -> None:
        request = datamanager_pb2.UpdateDataManagerParam(key=key, name=name)
        self._call(DataManagerServiceStub(self._channel).UpdateDataManager, request)

    def register_data_samples(
        self, samples: Sequence[datasample_pb2.NewDataSample]
    ) -> Sequence[datasample_pb2.DataSample]:
        request = datasample_pb2.RegisterDataSamplesParam(samples=samples)
        stub = DataSampleServiceStub(self._channel)
        return self._call(stub.RegisterDataSamples, request).data_samples

    def update_data_samples(self, keys: Sequence[str], data_manager_keys: Sequence[str]) -> None:
        request = datasample_pb2.UpdateDataSamplesParam(
            keys=keys, data_manager_keys=data_manager_keys
        )
        self._call(DataSampleServiceStub(self._channel).UpdateDataSamples, request)

    def data_sample(self, key: str) -> datasample_pb2.DataSample:
        request = datasample_pb2.GetDataSampleParam(key=key)
        return self._call(DataSampleServiceStub(self._channel).GetDataSample, request)

    # ------------------------------------------------------------------ compute plans
    def register_plan(self, new: computeplan_pb2.NewComputePlan) -> computeplan_pb2.ComputePlan:
        return self._call(ComputePlanServiceStub(self._channel).RegisterPlan, new)

    def plan(self, key: str) -> computeplan_pb2.ComputePlan:
        request = computeplan_pb2.GetComputePlanParam(key=key)
        return self._call(ComputePlanServiceStub(self._channel).GetPlan, request)

    def update_plan(self, key: str, name: str) -> None:
        request = computeplan_pb2.UpdateComputePlanParam(key=key, name=name)
        self._call(ComputePlanServiceStub(self._channel).UpdatePlan, request)

    def cancel_plan(self, key: str) -> None:
        request = computeplan_pb2.ApplyPlanActionParam(
            key=key, action=computeplan_pb2.PLAN_ACTION_CANCELED
        )
        self._call(ComputePlanServiceStub(self._channel).ApplyPlanAction, request)

    def is_plan_running(self, key: str) -> bool:
        request = computeplan_pb2.IsPlanRunningParam(key=key)
        stub = ComputePlanServiceStub(self._channel)
        return self._call(stub.IsPlanRunning, request).is_running

    # ------------------------------------------------------------------ tasks
    def register_tasks(
        self, tasks: Sequence[computetask_pb2.NewComputeTask]
    ) -> Sequence[computetask_pb2.ComputeTask]:
        request = computetask_pb2.RegisterTasksParam(tasks=tasks)
        return self._call(ComputeTaskServiceStub(self._channel).RegisterTasks, request).tasks

    def task(self, key: str) -> computetask_pb2.ComputeTask:
        request = computetask_pb2.GetTaskParam(key=key)
        return self._call(ComputeTaskServiceStub(self._channel).GetTask, request)

    def tasks(
        self, filters: computetask_pb2.TaskQueryFilter
    ) -> Iterator[computetask_pb2.ComputeTask]:
        """Every task that the filter names, page by page."""
        stub = ComputeTaskServiceStub(self._channel)
        token = ""
        while True:
            request = computetask_pb2.QueryTasksParam(
                page_token=token, page_size=500, filter=filters
            )
            answer = self._call(stub.QueryTasks, request)
            yield from answer.tasks
            token = answer.next_page_token
            if not token:
                return

    def apply_task_action(
        self, key: str, action: "computetask_pb2.ComputeTaskAction.ValueType", log: str = ""
    ) -> None:
        request = computetask_pb2.ApplyTaskActionParam(compute_task_key=key, action=action, log=log)
        self._call(ComputeTaskServiceStub(self._channel).ApplyTaskAction, request)

    def task_input_assets(self, key: str) -> Sequence[computetask_pb2.ComputeTaskInputAsset]:
        request = computetask_pb2.GetTaskInputAssetsParam(compute_task_key=key)
        stub = ComputeTaskServiceStub(self._channel)
        return self._call(stub.GetTaskInputAssets, request).assets

    def disable_output(self, task_key: str, identifier: str) -> None:
        request = computetask_pb2.DisableOutputParam(
            compute_task_key=task_key, identifier=identifier
        )
        self._call(ComputeTaskServiceStub(self._channel).DisableOutput, request)

    # ------------------------------------------------------------------ results
    def register_models(self, models: Sequence[model_pb2.NewModel]) -> Sequence[model_pb2.Model]:
        request = model_pb2.RegisterModelsParam(models=models)
        return self._call(ModelServiceStub(self._channel).RegisterModels, request).models

    def model(self, key: str) -> model_pb2.Model:
        return self._call(
            ModelServiceStub(self._channel).GetModel, model_pb2.GetModelParam(key=key)
        )

    def register_performance(
        self, new: performance_pb2.NewPerformance
    ) -> performance_pb2.Performance:
        return self._call(PerformanceServiceStub(self._channel).RegisterPerformance, new)

    def register_failure_report(
        self, new: failure_report_pb2.NewFailureReport
    ) -> failure_report_pb2.FailureReport:
        return self._call(FailureReportServiceStub(self._channel).RegisterFailureReport, new)

    def register_profiling_step(self, step: profiling_pb2.ProfilingStep) -> None:
        self._call(ProfilingServiceStub(self._channel).RegisterProfilingStep, step)

    # ------------------------------------------------------------------ events
    def subscribe(self, after: str) -> "EventStream":
        """Events strictly after the id `after` (empty: from the beginning), pushed as they come."""
        request = event_pb2.SubscribeToEventsParam(start_event_id=after)
        call = EventServiceStub(self._channel).SubscribeToEvents(
            request, metadata=self._metadata, wait_for_ready=True
        )
        return EventStream(call)


class EventStream:
    """An open event stream; iterating blocks, `cancel` from another thread ends it."""

    def __init__(self, call: "grpc.CallIterator[event_pb2.Event]") -> None:
        self._call = call

    def __iter__(self) -> Iterator[event_pb2.Event]:
        try:
            yield from self._call
        except grpc.RpcError as error:
            call = cast("grpc.Call", error)
            if call.code() is grpc.StatusCode.CANCELLED:
                return
            raise LedgerError(call.code(), call.details() or "") from None

    def cancel(self) -> None:
        with contextlib.suppress(Exception):
            cast("grpc.Future[object]", self._call).cancel()


def _credentials(settings: Settings) -> grpc.ChannelCredentials:
    def content(path: Path | None) -> bytes | None:
        return path.read_bytes() if path else None

    authority = content(settings.ORCHESTRATOR_TLS_SERVER_CACERT_PATH)
    if not settings.ORCHESTRATOR_MTLS_ENABLED:
        return grpc.ssl_channel_credentials(authority)
    return grpc.ssl_channel_credentials(
        authority,
        content(settings.ORCHESTRATOR_TLS_CLIENT_KEY_PATH),
        content(settings.ORCHESTRATOR_TLS_CLIENT_CERT_PATH),
    )
