"""Routes of profiling (rest-api.md 16). `/function/{key}/profiling` is asked without its slash by the UI."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from backend.access.caller import CurrentCaller, FileCaller, SessionNode
from backend.assets.profiling.service import ProfilingService
from backend.kit.answers import JsonAnswer, polled
from backend.kit.bodies import document
from backend.kit.keys import asset_key
from backend.kit.parameters import query_parameters

router = APIRouter(tags=["profiling"])


async def body(request: Request) -> dict[str, Any]:
    return await document(request)


def profiling_service(node: SessionNode, caller: FileCaller) -> ProfilingService:
    return ProfilingService(node, caller)


Fields = Annotated[dict[str, Any], Depends(body)]
Key = Annotated[UUID, Depends(asset_key)]
Profiling = Annotated[ProfilingService, Depends(profiling_service)]


@router.get("/task_profiling/")
def list_profilings(request: Request, service: Profiling) -> JsonAnswer:
    """Where the time of tasks went."""
    parameters = query_parameters(request)
    page, results = service.page(parameters)
    return page.answer(request, parameters, results)


@router.post("/task_profiling/", status_code=201)
def start_profiling(service: Profiling, fields: Fields) -> JsonAnswer:
    """Start the clock of a task (own components only)."""
    return JsonAnswer(service.start(fields), status_code=201)


@router.get("/task_profiling/{key}/")
def show_profiling(service: Profiling, request: Request, key: Key) -> JsonAnswer:
    """Where the time of one task went."""
    return polled(request, service.find(key))


@router.put("/task_profiling/{key}/")
def restart_profiling(service: Profiling, key: Key) -> JsonAnswer:
    """Set the clock of a task to now (own components only)."""
    return JsonAnswer(service.restart(key))


@router.post("/task_profiling/{key}/step/", status_code=201)
def add_step(service: Profiling, key: Key, fields: Fields) -> JsonAnswer:
    """Note a step of a task (own components only)."""
    step = service.set_step(key, fields.get("step"), fields, new=True)
    return JsonAnswer(step, status_code=201)


@router.put("/task_profiling/{key}/step/{step}/")
def change_step(service: Profiling, key: Key, step: str, fields: Fields) -> JsonAnswer:
    """Note a step of a task again (own components only)."""
    return JsonAnswer(service.set_step(key, step, fields, new=False))


@router.get("/function/{key}/profiling/")
@router.get("/function/{key}/profiling", include_in_schema=False)
def show_function_profiling(
    request: Request, caller: CurrentCaller, node: SessionNode, key: Key
) -> JsonAnswer:
    """Where the time of a function's build went."""
    return polled(request, ProfilingService(node, caller).of_function(key))
