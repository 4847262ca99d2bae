"""Routes of users (rest-api.md 4)."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from backend.access.caller import AdminCaller, CurrentCaller, SessionNode
from backend.access.throttle.dependencies import StrangersThrottled
from backend.access.users.approval import ApprovalService
from backend.access.users.service import ResetService, UserService
from backend.kit.answers import JsonAnswer
from backend.kit.bodies import document
from backend.kit.parameters import query_parameters

router = APIRouter(tags=["users"])


async def body(request: Request) -> dict[str, Any]:
    return await document(request)


def user_service(node: SessionNode, caller: CurrentCaller) -> UserService:
    return UserService(node, caller)


def administration(node: SessionNode, caller: AdminCaller) -> UserService:
    return UserService(node, caller)


def approval_service(node: SessionNode, caller: AdminCaller) -> ApprovalService:
    return ApprovalService(node, caller)


def reset_service(node: SessionNode) -> ResetService:
    return ResetService(node)


Fields = Annotated[dict[str, Any], Depends(body)]
Users = Annotated[UserService, Depends(user_service)]
Administration = Annotated[UserService, Depends(administration)]
Approval = Annotated[ApprovalService, Depends(approval_service)]
Reset = Annotated[ResetService, Depends(reset_service)]


@router.get("/users/")
def list_users(request: Request, service: Users) -> JsonAnswer:
    """The users of the caller's channel."""
    parameters = query_parameters(request)
    page, results = service.page(parameters)
    return page.answer(request, parameters, results)


@router.post("/users/", status_code=201)
def create_user(service: Administration, fields: Fields) -> JsonAnswer:
    """A new user of the administrator's channel."""
    return JsonAnswer(service.create(fields), status_code=201)


@router.get("/users/{username}/")
def show_user(username: str, service: Users) -> JsonAnswer:
    """One user of the caller's channel."""
    return JsonAnswer(service.show(username))


@router.put("/users/{username}/")
def change_user(service: Administration, username: str, fields: Fields) -> JsonAnswer:
    """Change a user's role."""
    return JsonAnswer(service.change(username, fields))


@router.delete("/users/{username}/", status_code=204)
def remove_user(username: str, service: Administration) -> Response:
    """Remove a user; its plans stay."""
    service.remove(username)
    return Response(status_code=204)


@router.put("/users/{username}/password/")
def change_password(service: Users, username: str, fields: Fields) -> JsonAnswer:
    """Change one's own password."""
    return JsonAnswer(service.change_own_password(username, fields))


@router.post("/users/{username}/reset_password/")
def reset_password(username: str, service: Administration) -> JsonAnswer:
    """A token for a link by which the user chooses a new password."""
    return JsonAnswer(service.reset_link(username))


@router.get("/users/{username}/verify_token/", dependencies=[StrangersThrottled])
def verify_token(username: str, request: Request, service: Reset) -> JsonAnswer:
    """Whether a reset token is good."""
    service.verify(username, query_parameters(request).get("token", ""))
    return JsonAnswer({})


@router.post("/users/{username}/set_password/", dependencies=[StrangersThrottled])
def set_password(service: Reset, username: str, fields: Fields) -> JsonAnswer:
    """Choose a new password with a reset token."""
    return JsonAnswer(service.set_password(username, fields))


@router.get("/users-awaiting-approval/")
def list_awaiting(request: Request, service: Approval) -> JsonAnswer:
    """Users without a channel."""
    parameters = query_parameters(request)
    page, results = service.page(parameters)
    return page.answer(request, parameters, results)


@router.put("/users-awaiting-approval/")
def approve(request: Request, service: Approval, fields: Fields) -> JsonAnswer:
    """Let the user named by `?username=` into the administrator's channel."""
    return JsonAnswer(service.approve(_name(request), fields))


@router.delete("/users-awaiting-approval/")
def send_away(request: Request, service: Approval) -> JsonAnswer:
    """Remove the user named by `?username=`, who waits."""
    service.remove(_name(request))
    return JsonAnswer({"detail": "User removed"})


def _name(request: Request) -> str:
    return query_parameters(request).get("username", "")
