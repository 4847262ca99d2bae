"""Routes of functions (rest-api.md 8), and the list of a plan's functions."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from backend.access.caller import CurrentCaller, FileCaller, SessionNode
from backend.assets.downloads import answer
from backend.assets.functions.downloads import FunctionDownloads
from backend.assets.functions.schemas import NewName
from backend.assets.functions.service import FunctionService
from backend.assets.uploads import in_upload_thread, received
from backend.kit.addresses import base_address
from backend.kit.answers import JsonAnswer, polled
from backend.kit.bodies import document
from backend.kit.keys import asset_key, checked_key
from backend.kit.parameters import query_parameters
from backend.kit.validation import validated

router = APIRouter(tags=["functions"])


async def body(request: Request) -> dict[str, Any]:
    return await document(request)


def function_service(request: Request, node: SessionNode, caller: CurrentCaller) -> FunctionService:
    return FunctionService(node, caller, base_address(request))


def function_downloads(node: SessionNode, caller: FileCaller) -> FunctionDownloads:
    return FunctionDownloads(node, caller)


Fields = Annotated[dict[str, Any], Depends(body)]
Key = Annotated[UUID, Depends(asset_key)]
CheckedKey = Annotated[UUID, Depends(checked_key)]
Functions = Annotated[FunctionService, Depends(function_service)]
Downloads = Annotated[FunctionDownloads, Depends(function_downloads)]


@router.post("/function/", status_code=201)
async def register_function(request: Request, node: SessionNode, service: Functions) -> JsonAnswer:
    """Register a function: parts `json`, `file` (its build context) and `description`."""
    service.check_builder()
    limit = node.settings.DATA_UPLOAD_MAX_SIZE
    async with received(request, node.storage, file_limit=limit) as upload:
        return JsonAnswer(await in_upload_thread(service.register, upload), status_code=201)


@router.get("/function/")
def list_functions(request: Request, service: Functions) -> JsonAnswer:
    """The functions of the caller's channel."""
    parameters = query_parameters(request)
    page, results = service.page(parameters)
    return page.answer(request, parameters, results)


@router.get("/compute_plan/{key}/functions/")
def list_plan_functions(service: Functions, request: Request, key: CheckedKey) -> JsonAnswer:
    """The functions that a plan's tasks use; an unknown plan has none."""
    parameters = query_parameters(request)
    page, results = service.page(parameters, key)
    return page.answer(request, parameters, results)


@router.get("/function/{key}/")
def show_function(service: Functions, request: Request, key: Key) -> JsonAnswer:
    """One function."""
    return polled(request, service.find(key))


@router.put("/function/{key}/")
def rename_function(service: Functions, key: Key, fields: Fields) -> JsonAnswer:
    """Give a function another name."""
    return JsonAnswer(service.rename(key, validated(NewName, fields)))


@router.get("/function/{key}/file/")
def download_archive(
    key: str, request: Request, node: SessionNode, caller: FileCaller, downloads: Downloads
) -> Response:
    """The build context."""
    return answer(request, node, caller, downloads.archive(key))


@router.get("/function/{key}/description/")
def download_description(
    key: str, request: Request, node: SessionNode, caller: FileCaller, downloads: Downloads
) -> Response:
    """The description, in Markdown."""
    return answer(request, node, caller, downloads.description(key))


@router.get("/function/{key}/image/")
def download_image(
    key: str, request: Request, node: SessionNode, caller: FileCaller, downloads: Downloads
) -> Response:
    """The image's manifest, or with `?layer=sha256:…` one of its layers."""
    layer = query_parameters(request).get("layer")
    return answer(request, node, caller, downloads.image(key, layer))
