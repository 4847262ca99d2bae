"""Routes of compute plans (rest-api.md 11). Lists below a plan are declared by the rooms that answer them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from backend.access.caller import CurrentCaller, SessionNode
from backend.assets.compute_plans import store
from backend.assets.compute_plans.schemas import NewComputePlan, NewName
from backend.assets.compute_plans.service import ComputePlanService
from backend.kit.answers import JsonAnswer, polled
from backend.kit.bodies import document
from backend.kit.clock import utc_now
from backend.kit.keys import asset_key
from backend.kit.parameters import query_parameters
from backend.kit.validation import validated

router = APIRouter(tags=["compute plans"])


async def body(request: Request) -> dict[str, Any]:
    return await document(request)


def compute_plan_service(node: SessionNode, caller: CurrentCaller) -> ComputePlanService:
    return ComputePlanService(node, caller)


Fields = Annotated[dict[str, Any], Depends(body)]
Key = Annotated[UUID, Depends(asset_key)]
Plans = Annotated[ComputePlanService, Depends(compute_plan_service)]


@router.get("/compute_plan/")
def list_plans(request: Request, service: Plans) -> JsonAnswer:
    """The plans of the caller's channel."""
    parameters = query_parameters(request)
    page, now = service.page(parameters), utc_now()
    return page.answer(request, parameters, [store.wire(row, now) for row in page.rows])


@router.post("/compute_plan/", status_code=201)
def register_plan(service: Plans, fields: Fields) -> JsonAnswer:
    """Register a plan; its tasks follow by `/task/bulk_create/`."""
    return JsonAnswer(service.register(validated(NewComputePlan, fields)), status_code=201)


@router.get("/compute_plan/{key}/")
def show_plan(service: Plans, request: Request, key: Key) -> JsonAnswer:
    """One plan."""
    return polled(request, service.find(key))


@router.put("/compute_plan/{key}/")
def rename_plan(service: Plans, key: Key, fields: Fields) -> JsonAnswer:
    """Give a plan another name."""
    return JsonAnswer(service.rename(key, validated(NewName, fields)))


@router.post("/compute_plan/{key}/cancel/")
def cancel_plan(service: Plans, key: Key) -> JsonAnswer:
    """Cancel a plan. The status follows by the ledger's event."""
    service.cancel(key)
    return JsonAnswer({})


@router.get("/compute_plan_metadata/")
def list_metadata_keys(service: Plans, request: Request) -> JsonAnswer:
    """The metadata keys that plans of the caller's channel have: a bare array."""
    return polled(request, service.metadata_keys())
