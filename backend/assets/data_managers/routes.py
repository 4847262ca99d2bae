"""Routes of data managers (rest-api.md 9)."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from backend.access.caller import CurrentCaller, FileCaller, SessionNode
from backend.assets.data_managers.schemas import NewName
from backend.assets.data_managers.service import DataManagerDownloads, DataManagerService
from backend.assets.downloads import answer
from backend.assets.uploads import in_upload_thread, received
from backend.kit.addresses import base_address
from backend.kit.answers import JsonAnswer, polled
from backend.kit.bodies import document
from backend.kit.keys import asset_key
from backend.kit.parameters import query_parameters
from backend.kit.validation import validated

router = APIRouter(prefix="/data_manager", tags=["data managers"])


async def body(request: Request) -> dict[str, Any]:
    return await document(request)


def data_manager_service(
    request: Request, node: SessionNode, caller: CurrentCaller
) -> DataManagerService:
    return DataManagerService(node, caller, base_address(request))


def data_manager_downloads(node: SessionNode, caller: FileCaller) -> DataManagerDownloads:
    return DataManagerDownloads(node, caller)


Fields = Annotated[dict[str, Any], Depends(body)]
Key = Annotated[UUID, Depends(asset_key)]
DataManagers = Annotated[DataManagerService, Depends(data_manager_service)]
Downloads = Annotated[DataManagerDownloads, Depends(data_manager_downloads)]


@router.post("/", status_code=201)
async def register_data_manager(
    request: Request, node: SessionNode, service: DataManagers
) -> JsonAnswer:
    """Register a data manager: parts `json`, `data_opener` and `description`."""
    limit = node.settings.DATA_UPLOAD_MAX_SIZE
    async with received(request, node.storage, file_limit=limit) as upload:
        return JsonAnswer(await in_upload_thread(service.register, upload), status_code=201)


@router.get("/")
def list_data_managers(request: Request, service: DataManagers) -> JsonAnswer:
    """The data managers of the caller's channel."""
    parameters = query_parameters(request)
    page, results = service.page(parameters)
    return page.answer(request, parameters, results)


@router.get("/{key}/")
def show_data_manager(service: DataManagers, request: Request, key: Key) -> JsonAnswer:
    """One data manager."""
    return polled(request, service.find(key))


@router.put("/{key}/")
def rename_data_manager(service: DataManagers, key: Key, fields: Fields) -> JsonAnswer:
    """Give a data manager another name."""
    return JsonAnswer(service.rename(key, validated(NewName, fields)))


@router.get("/{key}/opener/")
def download_opener(
    key: str, request: Request, node: SessionNode, caller: FileCaller, downloads: Downloads
) -> Response:
    """The opener's Python source."""
    return answer(request, node, caller, downloads.opener(key))


@router.get("/{key}/description/")
def download_description(
    key: str, request: Request, node: SessionNode, caller: FileCaller, downloads: Downloads
) -> Response:
    """The description, in Markdown."""
    return answer(request, node, caller, downloads.description(key))
