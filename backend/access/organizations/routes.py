"""`/info/`, `/organization/` and the probes (rest-api.md 5)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse

from backend.access.caller import CurrentCaller, OptionalAccount, SessionNode
from backend.access.organizations.service import OrganizationService
from backend.access.throttle.dependencies import StrangersThrottled
from backend.kit.answers import JsonAnswer, polled

router = APIRouter(tags=["organization"])


def organization_service(node: SessionNode) -> OrganizationService:
    return OrganizationService(node)


Organizations = Annotated[OrganizationService, Depends(organization_service)]


@router.get("/info/", dependencies=[StrangersThrottled])
def information(request: Request, account: OptionalAccount, service: Organizations) -> JsonAnswer:
    """Who this is; more for users."""
    return polled(request, service.information(account))


@router.get("/organization/")
def members(request: Request, caller: CurrentCaller, service: Organizations) -> JsonAnswer:
    """The organizations of the caller's channel: a bare array."""
    return polled(request, service.members(caller.channel))


@router.get("/organization/{pk}/")
def member(caller: CurrentCaller, service: Organizations, pk: int) -> JsonAnswer:
    """One of them, by a number of this server's own."""
    return JsonAnswer(service.member(caller.channel, pk))


@router.get("/liveness")
def liveness(service: Organizations) -> PlainTextResponse:
    """Whether this process can do its work."""
    service.check_alive()
    return PlainTextResponse("OK")


@router.get("/readiness")
def readiness(service: Organizations) -> PlainTextResponse:
    """Whether requests may come."""
    service.check_ready()
    return PlainTextResponse("OK")
