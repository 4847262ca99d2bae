"""Routes of tasks (rest-api.md 12), and the lists of a plan's tasks and functions."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from backend.access.caller import CurrentCaller, SessionNode
from backend.assets.tasks.schemas import NewTasks
from backend.assets.tasks.service import TaskService
from backend.kit.addresses import base_address
from backend.kit.answers import JsonAnswer, polled
from backend.kit.bodies import document
from backend.kit.keys import asset_key, checked_key
from backend.kit.parameters import query_parameters
from backend.kit.validation import validated

router = APIRouter(tags=["tasks"])


async def body(request: Request) -> dict[str, Any]:
    return await document(request)


def task_service(request: Request, node: SessionNode, caller: CurrentCaller) -> TaskService:
    return TaskService(node, caller, base_address(request))


Fields = Annotated[dict[str, Any], Depends(body)]
Key = Annotated[UUID, Depends(asset_key)]
CheckedKey = Annotated[UUID, Depends(checked_key)]
Tasks = Annotated[TaskService, Depends(task_service)]


@router.post("/task/bulk_create/")
def register_tasks(service: Tasks, fields: Fields) -> JsonAnswer:
    """Register tasks of one plan, all or none. Answers 200."""
    return JsonAnswer(service.register(validated(NewTasks, fields).tasks))


@router.get("/task/")
def list_tasks(request: Request, service: Tasks) -> JsonAnswer:
    """The tasks of the caller's channel."""
    parameters = query_parameters(request)
    page, results = service.page(parameters)
    return page.answer(request, parameters, results)


@router.get("/compute_plan/{key}/task/")
def list_plan_tasks(service: Tasks, request: Request, key: CheckedKey) -> JsonAnswer:
    """The tasks of a plan; an unknown plan has none."""
    parameters = query_parameters(request)
    page, results = service.page(parameters, key)
    return page.answer(request, parameters, results)


@router.get("/task/{key}/")
def show_task(service: Tasks, request: Request, key: Key) -> JsonAnswer:
    """One task."""
    return polled(request, service.find(key))


@router.get("/task/{key}/input_assets/")
def list_input_assets(service: Tasks, request: Request, key: CheckedKey) -> JsonAnswer:
    """What a task takes, as far as it exists."""
    parameters = query_parameters(request)
    page, results = service.assets(parameters, key, of_outputs=False)
    return page.answer(request, parameters, results)


@router.get("/task/{key}/output_assets/")
def list_output_assets(service: Tasks, request: Request, key: CheckedKey) -> JsonAnswer:
    """What a task gave so far."""
    parameters = query_parameters(request)
    page, results = service.assets(parameters, key, of_outputs=True)
    return page.answer(request, parameters, results)
