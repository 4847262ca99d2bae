"""Additional read routes: where a task stands in the queue, and the queue of a channel."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from backend.access.caller import CurrentCaller, FileCaller, SessionNode
from backend.assets.downloads import Download, answer
from backend.engine.waiting.service import Waiting
from backend.kit.answers import JsonAnswer
from backend.kit.keys import checked_key

router = APIRouter(tags=["queue"])
Key = Annotated[UUID, Depends(checked_key)]


@router.get("/task/{key}/queue/")
def show_task_in_queue(
    caller: FileCaller, node: SessionNode, request: Request, key: Key
) -> Response:
    """The task's place and why it waits, told by the organization that works on it."""
    waiting = Waiting(node, caller)
    worker = waiting.worker(key)
    if worker != node.own and not caller.is_organization:
        download = Download(owner=worker, path=f"task/{key}/queue/", name="queue.json", checksum="")
        return answer(request, node, caller, download)
    return JsonAnswer(waiting.of_task(key))


@router.get("/queue/")
def show_queue(node: SessionNode, caller: CurrentCaller) -> JsonAnswer:
    """Plans, builds and troubles of the caller's channel at this organization."""
    return JsonAnswer(Waiting(node, caller).overview())
