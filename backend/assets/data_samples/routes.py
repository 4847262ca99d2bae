"""Routes of data samples (rest-api.md 10). Their content has no route: data never leaves."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from backend.access.caller import CurrentCaller, SessionNode
from backend.assets.data_samples.schemas import NewLinks
from backend.assets.data_samples.service import DataSampleService
from backend.assets.uploads import in_upload_thread, received
from backend.kit.answers import JsonAnswer, polled
from backend.kit.bodies import document
from backend.kit.keys import asset_key
from backend.kit.parameters import query_parameters
from backend.kit.validation import validated

router = APIRouter(prefix="/data_sample", tags=["data samples"])


async def links_body(request: Request) -> dict[str, Any]:
    """A form with repeated fields (the SDK), or JSON lists."""
    return await document(request, lists=("data_manager_keys", "data_sample_keys"))


def data_sample_service(node: SessionNode, caller: CurrentCaller) -> DataSampleService:
    return DataSampleService(node, caller)


Key = Annotated[UUID, Depends(asset_key)]
Links = Annotated[dict[str, Any], Depends(links_body)]
DataSamples = Annotated[DataSampleService, Depends(data_sample_service)]


@router.post("/", status_code=201)
async def register_data_samples(
    request: Request, node: SessionNode, service: DataSamples
) -> JsonAnswer:
    """Register samples: part `json` and an archive a sample, or JSON that names folders."""
    limit = node.settings.DATA_UPLOAD_MAX_SIZE
    async with received(request, node.storage, file_limit=limit) as upload:
        return JsonAnswer(await in_upload_thread(service.register, upload), status_code=201)


@router.post("/bulk_update/")
def link_data_samples(fields: Links, service: DataSamples) -> JsonAnswer:
    """Add links between data managers and samples."""
    service.link(validated(NewLinks, fields))
    return JsonAnswer({})


@router.get("/")
def list_data_samples(request: Request, service: DataSamples) -> JsonAnswer:
    """The data samples of the caller's channel."""
    parameters = query_parameters(request)
    page, results = service.page(parameters)
    return page.answer(request, parameters, results)


@router.get("/{key}/")
def show_data_sample(service: DataSamples, request: Request, key: Key) -> JsonAnswer:
    """One data sample."""
    return polled(request, service.find(key))
