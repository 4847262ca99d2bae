"""Routes of logs (rest-api.md 17): for users, and for organizations by HTTP Basic."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from backend.access.caller import FileCaller, SessionNode
from backend.assets.downloads import answer
from backend.assets.failure_reports.service import LogDownloads

router = APIRouter(tags=["logs"])


def log_downloads(node: SessionNode, caller: FileCaller) -> LogDownloads:
    return LogDownloads(node, caller)


Logs = Annotated[LogDownloads, Depends(log_downloads)]


@router.get("/task/{key}/logs/")
def download_task_logs(
    key: str, request: Request, node: SessionNode, caller: FileCaller, logs: Logs
) -> Response:
    """Why a task failed, in the words of its function or of its build."""
    return answer(request, node, caller, logs.of_task(key))


@router.get("/logs/{key}/file/")
def download_logs(
    key: str, request: Request, node: SessionNode, caller: FileCaller, logs: Logs
) -> Response:
    """The log at the address that a failure report names."""
    return answer(request, node, caller, logs.of_asset(key))
