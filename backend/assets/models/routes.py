"""Routes of models (rest-api.md 13): for users, and for organizations by HTTP Basic."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from backend.access.caller import FileCaller, SessionNode
from backend.assets.downloads import answer
from backend.assets.models.downloads import ModelDownloads
from backend.assets.models.service import ModelService
from backend.kit.addresses import base_address
from backend.kit.answers import JsonAnswer, polled
from backend.kit.bodies import document
from backend.kit.keys import asset_key
from backend.kit.parameters import query_parameters

router = APIRouter(prefix="/model", tags=["models"])


async def body(request: Request) -> dict[str, Any]:
    return await document(request)


def model_service(request: Request, node: SessionNode, caller: FileCaller) -> ModelService:
    return ModelService(node, caller, base_address(request))


def model_downloads(node: SessionNode, caller: FileCaller) -> ModelDownloads:
    return ModelDownloads(node, caller)


Fields = Annotated[dict[str, Any], Depends(body)]
Key = Annotated[UUID, Depends(asset_key)]
Models = Annotated[ModelService, Depends(model_service)]
Downloads = Annotated[ModelDownloads, Depends(model_downloads)]


@router.get("/")
def list_models(request: Request, service: Models) -> JsonAnswer:
    """The models of the caller's channel."""
    parameters = query_parameters(request)
    page, results = service.page(parameters)
    return page.answer(request, parameters, results)


@router.post("/", status_code=201)
def register_models(service: Models, fields: Fields) -> JsonAnswer:
    """Make models readable before their events arrive (own components only)."""
    return JsonAnswer(service.register(fields), status_code=201)


@router.get("/{key}/")
def show_model(service: Models, request: Request, key: Key) -> JsonAnswer:
    """One model."""
    return polled(request, service.find(key))


@router.get("/{key}/file/")
def download_model(
    key: str, request: Request, node: SessionNode, caller: FileCaller, downloads: Downloads
) -> Response:
    """The model's bytes."""
    return answer(request, node, caller, downloads.model(key))
