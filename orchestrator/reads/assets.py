"""Reads of all that is kept as a document: organizations, functions, data, plans (orchestrator.md 3, 6)."""

from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from orchestrator import pages
from orchestrator.database import Pool
from orchestrator.errors import NotFound
from orchestrator.identity import Caller
from orchestrator.validation import stored_key
from protos.orchestrator import (
    computeplan_pb2,
    datamanager_pb2,
    datasample_pb2,
    dataset_pb2,
    failure_report_pb2,
    function_pb2,
    organization_pb2,
)
from protos.orchestrator.computetask_pb2 import STATUS_CANCELED, STATUS_DONE, STATUS_FAILED

M = TypeVar("M", bound=Message)
Filter = tuple[str, Sequence[Any]] | None


def document(pool: Pool, caller: Caller, table: str, resource: str, key: str, kind: type[M]) -> M:
    """One asset of the channel.

    Raises:
        Malformed, NotFound
    """
    stored_key(resource, key)
    with pool.cursor() as cursor:
        cursor.execute(
            f"SELECT document FROM {table} WHERE key = %s AND channel = %s",  # noqa: S608
            (key, caller.channel),
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound(resource, key)
    return kind.FromString(bytes(row[0]))


def documents(
    pool: Pool, caller: Caller, table: str, kind: type[M], request: Any, *filters: Filter
) -> tuple[list[M], str]:
    """A page in order of creation, then key."""
    asked = pages.size(request.page_size)
    after = pages.place(request.page_token)
    where, arguments = pages.conditions(
        [
            ("channel = %s", [caller.channel]),
            ("(created, key) > (%s, %s::uuid)", after[:2]) if after else None,
            *filters,
        ]
    )
    with pool.cursor() as cursor:
        cursor.execute(
            f"SELECT created, key::text, document FROM {table} WHERE {where}"  # noqa: S608
            " ORDER BY created, key LIMIT %s",
            [*arguments, asked + 1],
        )
        rows = cursor.fetchall()
    return pages.cut(
        rows,
        asked,
        lambda row: kind.FromString(bytes(row[2])),
        lambda row: pages.token(row[0], row[1]),
    )


# ------------------------------------------------------------------ organizations
def organizations(
    pool: Pool, caller: Caller, request: organization_pb2.GetAllOrganizationsParam
) -> organization_pb2.GetAllOrganizationsResponse:
    with pool.cursor() as cursor:
        cursor.execute(
            "SELECT document FROM organization WHERE channel = %s ORDER BY id", (caller.channel,)
        )
        rows = cursor.fetchall()
    return organization_pb2.GetAllOrganizationsResponse(
        organizations=[organization_pb2.Organization.FromString(bytes(row[0])) for row in rows]
    )


# ------------------------------------------------------------------ functions
def function(
    pool: Pool, caller: Caller, request: function_pb2.GetFunctionParam
) -> function_pb2.Function:
    return document(pool, caller, "function", "function", request.key, function_pb2.Function)


def functions(
    pool: Pool, caller: Caller, request: function_pb2.QueryFunctionsParam
) -> function_pb2.QueryFunctionsResponse:
    plan = request.filter.compute_plan_key
    of_plan: Filter = None
    if plan:
        of_plan = (
            "EXISTS (SELECT FROM compute_task t WHERE t.plan = %s AND t.function = function.key)",
            [stored_key("computeplan", plan)],
        )
    found, following = documents(pool, caller, "function", function_pb2.Function, request, of_plan)
    return function_pb2.QueryFunctionsResponse(Functions=found, next_page_token=following)


# ------------------------------------------------------------------ data
def data_manager(
    pool: Pool, caller: Caller, request: datamanager_pb2.GetDataManagerParam
) -> datamanager_pb2.DataManager:
    kind = datamanager_pb2.DataManager
    return document(pool, caller, "data_manager", "datamanager", request.key, kind)


def data_managers(
    pool: Pool, caller: Caller, request: datamanager_pb2.QueryDataManagersParam
) -> datamanager_pb2.QueryDataManagersResponse:
    kind = datamanager_pb2.DataManager
    found, following = documents(pool, caller, "data_manager", kind, request)
    return datamanager_pb2.QueryDataManagersResponse(data_managers=found, next_page_token=following)


def data_sample(
    pool: Pool, caller: Caller, request: datasample_pb2.GetDataSampleParam
) -> datasample_pb2.DataSample:
    kind = datasample_pb2.DataSample
    return document(pool, caller, "data_sample", "datasample", request.key, kind)


def data_samples(
    pool: Pool, caller: Caller, request: datasample_pb2.QueryDataSamplesParam
) -> datasample_pb2.QueryDataSamplesResponse:
    keys = list(request.filter.keys)
    among: Filter = None
    if keys:
        among = ("key = ANY(%s::uuid[])", [[stored_key("datasample", key) for key in keys]])
    kind = datasample_pb2.DataSample
    found, following = documents(pool, caller, "data_sample", kind, request, among)
    return datasample_pb2.QueryDataSamplesResponse(data_samples=found, next_page_token=following)


def dataset(
    pool: Pool, caller: Caller, request: dataset_pb2.GetDatasetParam
) -> dataset_pb2.Dataset:
    """A data manager and the keys of its samples, oldest first."""
    stored_key("datamanager", request.key)
    with pool.cursor() as cursor:
        cursor.execute(
            "SELECT m.document, ARRAY(SELECT s.key::text FROM data_sample_manager l"
            " JOIN data_sample s ON s.key = l.sample WHERE l.manager = m.key ORDER BY s.created, s.key)"
            " FROM data_manager m WHERE m.key = %s AND m.channel = %s",
            (request.key, caller.channel),
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound("datamanager", request.key)
    manager = datamanager_pb2.DataManager.FromString(bytes(row[0]))
    return dataset_pb2.Dataset(data_manager=manager, data_sample_keys=row[1])


# ------------------------------------------------------------------ plans
def plan(
    pool: Pool, caller: Caller, request: computeplan_pb2.GetComputePlanParam
) -> computeplan_pb2.ComputePlan:
    kind = computeplan_pb2.ComputePlan
    return document(pool, caller, "compute_plan", "computeplan", request.key, kind)


def plans(
    pool: Pool, caller: Caller, request: computeplan_pb2.QueryPlansParam
) -> computeplan_pb2.QueryPlansResponse:
    owner = request.filter.owner.replace("\x00", "\ufffd")
    of_owner: Filter = ("owner = %s", [owner]) if owner else None
    kind = computeplan_pb2.ComputePlan
    found, following = documents(pool, caller, "compute_plan", kind, request, of_owner)
    return computeplan_pb2.QueryPlansResponse(plans=found, next_page_token=following)


def plan_is_running(
    pool: Pool, caller: Caller, request: computeplan_pb2.IsPlanRunningParam
) -> computeplan_pb2.IsPlanRunningResponse:
    """Neither ended nor with a failed or canceled task, and some task is not DONE (orchestrator.md 14.1)."""
    stored_key("computeplan", request.key)
    with pool.cursor() as cursor:
        cursor.execute(
            "SELECT p.document, s.bad, s.open FROM compute_plan p, LATERAL ("
            " SELECT count(*) FILTER (WHERE status IN (%s, %s)) AS bad,"
            " count(*) FILTER (WHERE status NOT IN (%s, %s, %s)) AS open"
            " FROM compute_task WHERE plan = p.key) s WHERE p.key = %s AND p.channel = %s",
            (
                STATUS_CANCELED,
                STATUS_FAILED,
                STATUS_DONE,
                STATUS_CANCELED,
                STATUS_FAILED,
                request.key,
                caller.channel,
            ),
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound("computeplan", request.key)
    found = computeplan_pb2.ComputePlan.FromString(bytes(row[0]))
    ended = found.HasField("cancelation_date") or found.HasField("failure_date")
    return computeplan_pb2.IsPlanRunningResponse(is_running=not ended and not row[1] and row[2] > 0)


# ------------------------------------------------------------------ failure reports
def failure_report(
    pool: Pool, caller: Caller, request: failure_report_pb2.GetFailureReportParam
) -> failure_report_pb2.FailureReport:
    kind = failure_report_pb2.FailureReport
    return document(pool, caller, "failure_report", "failure report", request.asset_key, kind)
