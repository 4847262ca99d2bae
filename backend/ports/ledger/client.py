"""The ledger as this organization sees it: typed calls, one shared channel, retries where they are safe."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

import grpc
from google.protobuf.message import Message
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from backend.kit.crash_points import crash_points
from backend.ports.ledger.connection import Connection
from backend.ports.ledger.errors import LedgerError
from backend.ports.ledger.sameness import is_same, registered
from backend.ports.ledger.stream import EventStream as EventStream
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
from protos.orchestrator.common_pb2 import ASSET_FUNCTION, DESCENDING
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
S = TypeVar("S", bound=Message)


def _pause_s(state: RetryCallState) -> float:
    """Twice as long each time; as long as an overloaded ledger asks for, within reason."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, LedgerError) else None
    return min(asked or PAUSE_S * 2 ** (state.attempt_number - 1), LONGEST_PAUSE_S)


VERSION_S = 5.0  # for so long `recent_version` is not asked again


class Ledger:
    """The connection to the ledger, shared by all threads. `on(channel)` gives the calls of one channel."""

    def __init__(self, settings: Settings) -> None:
        """Raises LedgerCertificateError when a certificate file cannot be read."""
        self.msp_id = settings.MSP_ID
        self._connection = Connection(settings)
        self._version: tuple[float, str] | None = None  # when it was asked, and the answer

    def on(self, channel: str) -> "ChannelLedger":
        return ChannelLedger(self._connection, self.msp_id, channel)

    def recent_version(self, channel: str) -> str:
        """The ledger's version, asked for at most every few seconds: only a restart changes it."""
        known, now = self._version, time.monotonic()
        if known is None or now - known[0] > VERSION_S:
            known = self._version = (now, self.on(channel).version())
        return known[1]

    def close(self) -> None:
        self._connection.close()


class ChannelLedger:
    """The ledger's calls in one channel. Each raises LedgerError; requests and answers are the wire's messages.

    A call that did not get through, lost a race or met an overload is repeated for a few seconds; every RPC is
    safe to repeat because a second registration is refused by key. A registration whose answer was lost is the
    success that it was: the ledger is asked by key, and what it holds compared with what was sent (rule 5).
    """

    def __init__(self, connection: Connection, msp_id: str, name: str) -> None:
        self._connection = connection
        self.name = name
        self._own = msp_id
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

    def _once(
        self,
        rpc: Callable[[], Callable[..., S]],
        new: Message,
        stored: Callable[[], S],
        *,
        ended: bool = False,
    ) -> S:
        """Register one asset, once."""
        return registered(
            lambda: self._call(rpc, new),
            stored,
            lambda found: is_same(new, found, self._own),
            ended=ended,
        )

    def _all_once(
        self, register: Callable[[], Sequence[S]], new: Sequence[Message], one: Callable[[str], S]
    ) -> Sequence[S]:
        """Register some assets that have keys, all or none, once."""
        return registered(
            register,
            lambda: [one(each.key) for each in new],  # type: ignore[attr-defined]
            lambda found: all(
                is_same(sent, stored, self._own) for sent, stored in zip(new, found, strict=True)
            ),
        )

    # ------------------------------------------------------------------ organizations, information
    def register_organization(
        self, address: str, *, attempts: int = ATTEMPTS
    ) -> organization_pb2.Organization:
        request = organization_pb2.RegisterOrganizationParam(address=address)
        return self._call(
            lambda: OrganizationServiceStub(self._channel).RegisterOrganization,
            request,
            attempts=attempts,
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
        return self._once(
            lambda: FunctionServiceStub(self._channel).RegisterFunction,
            new,
            lambda: self.function(new.key),
        )

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
        return self._once(
            lambda: DataManagerServiceStub(self._channel).RegisterDataManager,
            new,
            lambda: self.data_manager(new.key),
        )

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
        return self._all_once(
            lambda: (
                self._call(
                    lambda: DataSampleServiceStub(self._channel).RegisterDataSamples, request
                ).data_samples
            ),
            samples,
            self.data_sample,
        )

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
        return self._once(
            lambda: ComputePlanServiceStub(self._channel).RegisterPlan,
            new,
            lambda: self.plan(new.key),
        )

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
        """The tasks, parents before their children."""
        request = computetask_pb2.RegisterTasksParam(tasks=tasks)
        found = self._all_once(
            lambda: (
                self._call(
                    lambda: ComputeTaskServiceStub(self._channel).RegisterTasks, request
                ).tasks
            ),
            tasks,
            self.task,
        )
        # What was asked for by key comes in the order in which it was sent.
        return sorted(found, key=lambda task: task.rank) if isinstance(found, list) else found

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
        return self._all_once(
            lambda: (
                self._call(lambda: ModelServiceStub(self._channel).RegisterModels, request).models
            ),
            models,
            self.model,
        )

    def model(self, key: str) -> model_pb2.Model:
        return self._call(
            lambda: ModelServiceStub(self._channel).GetModel, model_pb2.GetModelParam(key=key)
        )

    def register_performance(
        self, new: performance_pb2.NewPerformance
    ) -> performance_pb2.Performance:
        return self._once(
            lambda: PerformanceServiceStub(self._channel).RegisterPerformance,
            new,
            lambda: self._performance(new),
        )

    def _performance(self, of: performance_pb2.NewPerformance) -> performance_pb2.Performance:
        filters = performance_pb2.PerformanceQueryFilter(
            compute_task_key=of.compute_task_key,
            compute_task_output_identifier=of.compute_task_output_identifier,
        )
        request = performance_pb2.QueryPerformancesParam(filter=filters, page_size=1)
        found = self._call(
            lambda: PerformanceServiceStub(self._channel).QueryPerformances, request
        ).Performances
        if not found:
            raise LedgerError(grpc.StatusCode.NOT_FOUND, "OE0002: performance not found")
        return found[0]

    def register_failure_report(
        self, new: failure_report_pb2.NewFailureReport
    ) -> failure_report_pb2.FailureReport:
        stored = failure_report_pb2.GetFailureReportParam(asset_key=new.asset_key)
        return self._once(
            lambda: FailureReportServiceStub(self._channel).RegisterFailureReport,
            new,
            lambda: self._call(
                lambda: FailureReportServiceStub(self._channel).GetFailureReport, stored
            ),
            ended=True,
        )

    def register_profiling_step(self, step: profiling_pb2.ProfilingStep) -> None:
        self._call(lambda: ProfilingServiceStub(self._channel).RegisterProfilingStep, step)

    # ------------------------------------------------------------------ events
    def last_events(self, function: str, most: int) -> Sequence[event_pb2.Event]:
        """Of one function, the newest first."""
        filters = event_pb2.EventQueryFilter(asset_key=function, asset_kind=ASSET_FUNCTION)
        request = event_pb2.QueryEventsParam(filter=filters, page_size=most, sort=DESCENDING)
        return self._call(lambda: EventServiceStub(self._channel).QueryEvents, request).events

    def subscribe(self, after: str) -> EventStream:
        """Events strictly after the id `after` (empty: from the beginning), pushed as they come."""
        request = event_pb2.SubscribeToEventsParam(start_event_id=after)
        call = EventServiceStub(self._channel).SubscribeToEvents(
            request, metadata=self._metadata, wait_for_ready=True
        )
        return EventStream(call, self._connection.renew)
