"""Routes of performances (rest-api.md 14)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from backend.access.caller import CurrentCaller, SessionNode
from backend.assets.performances.export import PerformanceExport
from backend.assets.performances.service import PerformanceService
from backend.kit.answers import JsonAnswer, polled
from backend.kit.keys import checked_key
from backend.kit.parameters import query_parameters

router = APIRouter(tags=["performances"])


def performance_service(node: SessionNode, caller: CurrentCaller) -> PerformanceService:
    return PerformanceService(node, caller)


def performance_export(node: SessionNode, caller: CurrentCaller) -> PerformanceExport:
    return PerformanceExport(node, caller)


Export = Annotated[PerformanceExport, Depends(performance_export)]
Performances = Annotated[PerformanceService, Depends(performance_service)]


@router.get("/compute_plan/{key}/perf/")
def list_plan_performances(
    service: Performances, request: Request, key: Annotated[UUID, Depends(checked_key)]
) -> JsonAnswer:
    """Every performance of a plan, unpaged."""
    return polled(request, service.of_plan(key, query_parameters(request)))


@router.get("/performance/")
def list_performances(request: Request, service: Performances) -> JsonAnswer:
    """The performances of the caller's channel."""
    parameters = query_parameters(request)
    page, results = service.page(parameters)
    return page.answer(request, parameters, results)


@router.get("/performance/export/")
def export_performances(request: Request, export: Export) -> Response:
    """The performances of the caller's channel as CSV, with a column for each of `metadata_columns`."""
    return export.answer(request, query_parameters(request))
