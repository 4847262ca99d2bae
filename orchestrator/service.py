"""From a call to an answer: identity, then the channel's writer, a read, or the event stream."""

import asyncio
import contextvars
import math
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psycopg2
import structlog
from google.protobuf.message import Message

from orchestrator import limits
from orchestrator.commands import COMMANDS
from orchestrator.database import Pool, is_lost
from orchestrator.errors import Internal, Overloaded, Refusal, Unavailable
from orchestrator.feed import Feed, Placed
from orchestrator.identity import Caller
from orchestrator.limits import WAITING_READS, Budget, checked_parts
from orchestrator.reads import assets, events, tasks
from orchestrator.writer import Job, Writer
from protos.orchestrator.event_pb2 import SubscribeToEventsParam
from protos.orchestrator.info_pb2 import QueryVersionParam, QueryVersionResponse

log = structlog.get_logger(__name__)

Read = Callable[[Pool, Caller, Any], Message]


def _version(pool: Pool, caller: Caller, request: QueryVersionParam) -> QueryVersionResponse:
    try:
        return QueryVersionResponse(orchestrator=version("substra-ray"))
    except PackageNotFoundError:
        return QueryVersionResponse(orchestrator="dev")


READS: dict[str, Read] = {
    "OrganizationService/GetAllOrganizations": assets.organizations,
    "FunctionService/GetFunction": assets.function,
    "FunctionService/QueryFunctions": assets.functions,
    "DataManagerService/GetDataManager": assets.data_manager,
    "DataManagerService/QueryDataManagers": assets.data_managers,
    "DataSampleService/GetDataSample": assets.data_sample,
    "DataSampleService/QueryDataSamples": assets.data_samples,
    "DatasetService/GetDataset": assets.dataset,
    "ComputePlanService/GetPlan": assets.plan,
    "ComputePlanService/QueryPlans": assets.plans,
    "ComputePlanService/IsPlanRunning": assets.plan_is_running,
    "ComputeTaskService/GetTask": tasks.task,
    "ComputeTaskService/QueryTasks": tasks.tasks,
    "ComputeTaskService/GetTaskInputAssets": tasks.input_assets,
    "ModelService/GetModel": tasks.model,
    "ModelService/GetComputeTaskOutputModels": tasks.output_models,
    "PerformanceService/QueryPerformances": tasks.performances,
    "FailureReportService/GetFailureReport": assets.failure_report,
    "EventService/QueryEvents": events.events,
    "InfoService/QueryVersion": _version,
}


class Ledger:
    """The calls of the ledger, in the server's event loop."""

    def __init__(
        self,
        *,
        writers: Mapping[str, Writer],
        feeds: Mapping[str, Feed],
        pool: Pool,
        readers: ThreadPoolExecutor,
    ) -> None:
        self._writers = writers
        self._feeds = feeds
        self._pool = pool
        self._readers = readers
        self.waiting_reads = Budget(WAITING_READS, "reads wait")

    async def call(
        self,
        method: str,
        caller: Caller,
        request: Message,
        size: int = 0,
        deadline: float = math.inf,
    ) -> Message:
        """The answer of a unary RPC, `Service/Method`.

        Args:
            size: bytes of the request on the wire.
            deadline: monotonic time after which nobody waits for the answer.

        Raises:
            Refusal
        """
        if method in COMMANDS:
            return await self._write(method, caller, request, size, deadline)
        return await self._read(READS[method], caller, request)

    async def subscribe(
        self,
        caller: Caller,
        request: SubscribeToEventsParam,
        allowed: Callable[[], object] = lambda: None,
    ) -> AsyncIterator[bytes]:
        """Events of the caller's channel after the given one, each in its wire form.

        Args:
            allowed: raises once the caller may no longer listen; asked before each batch.

        Raises:
            Refusal: the start is unknown, or what `allowed` raises.
        """
        feed = self._feeds[caller.channel]
        start = await self._in_thread(events.position, caller, request.start_event_id)
        async for event in feed.follow(start, allowed):
            yield event

    async def _write(
        self, method: str, caller: Caller, request: Message, size: int, deadline: float
    ) -> Message:
        parts = checked_parts(request)
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        job = Job(
            COMMANDS[method],
            caller,
            request,
            reply,
            method=method,
            parts=parts,
            size=size,
            abandoned=reply.cancelled,
            deadline=deadline,
            context=contextvars.copy_context(),
        )
        waiting = self.waiting_bytes
        if waiting and waiting + size > limits.WAITING_BYTES:
            raise Overloaded("too many bytes of requests wait to be written; retry in 1 s")
        self._writers[caller.channel].submit(job)
        return await reply

    @property
    def waiting_bytes(self) -> int:
        """Bytes of requests that wait to be written, in all channels."""
        return sum(writer.waiting_bytes for writer in self._writers.values())

    async def _read(self, read: Read, caller: Caller, request: Message) -> Message:
        answer: Message = await self._in_thread(read, caller, request)
        return answer

    async def _in_thread(self, read: Callable[..., Any], *arguments: Any) -> Any:
        self.waiting_reads.take(1)
        try:
            return await self._twice(read, *arguments)
        except psycopg2.Error as error:
            if is_lost(error):
                raise Unavailable("the database cannot be reached") from None
            log.exception("read_failed")
            raise Internal("the request could not be read") from None
        finally:
            self.waiting_reads.give_back(1)

    async def _twice(self, read: Callable[..., Any], *arguments: Any) -> Any:
        """Once more on a new connection when the first has broken: the database may have been restarted."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._readers, read, self._pool, *arguments)
        except psycopg2.Error as error:
            if not is_lost(error):
                raise
            self._pool.close()
        return await loop.run_in_executor(self._readers, read, self._pool, *arguments)


def deliver_outcome(reply: asyncio.Future[Message], outcome: Message | Refusal) -> None:
    """Give a waiting call its answer, unless its client has gone."""
    if reply.done():
        return
    if isinstance(outcome, Refusal):
        reply.set_exception(outcome)
    else:
        reply.set_result(outcome)


async def read_after(
    pool: Pool, readers: ThreadPoolExecutor, limit: int, channel: str, position: int
) -> list[Placed]:
    """Events of a stream that lags behind; waits out a database that is away."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return await loop.run_in_executor(readers, events.after, pool, channel, position, limit)
        except psycopg2.Error as error:
            if not is_lost(error):
                raise
            pool.close()
            log.warning("stream_waits_for_database", channel=channel)
            await asyncio.sleep(1.0)
