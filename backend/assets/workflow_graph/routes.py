"""The route of the workflow graph (rest-api.md 15.3)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from backend.access.caller import CurrentCaller, SessionNode
from backend.assets.workflow_graph.service import WorkflowGraphService
from backend.kit.answers import JsonAnswer, polled
from backend.kit.keys import checked_key

router = APIRouter(tags=["compute plans"])


def workflow_graph_service(node: SessionNode, caller: CurrentCaller) -> WorkflowGraphService:
    return WorkflowGraphService(node, caller)


WorkflowGraph = Annotated[WorkflowGraphService, Depends(workflow_graph_service)]


@router.get("/compute_plan/{key}/workflow_graph/")
def show_workflow_graph(
    service: WorkflowGraph, request: Request, key: Annotated[UUID, Depends(checked_key)]
) -> JsonAnswer:
    """The tasks of a plan and the edges between them; an unknown plan has none."""
    return polled(request, service.of_plan(key))
