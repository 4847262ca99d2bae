"""Routes of tokens (rest-api.md 3.3)."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from backend.access.caller import CurrentAccount, SessionNode
from backend.access.throttle.dependencies import LogInsThrottled
from backend.access.tokens.service import TokenService
from backend.kit.addresses import client_address
from backend.kit.answers import JsonAnswer
from backend.kit.bodies import document
from backend.kit.parameters import query_parameters

router = APIRouter(tags=["tokens"])


async def body(request: Request) -> dict[str, Any]:
    return await document(request)


def token_service(node: SessionNode) -> TokenService:
    return TokenService(node)


Fields = Annotated[dict[str, Any], Depends(body)]
Tokens = Annotated[TokenService, Depends(token_service)]


@router.post("/api-token-auth/", dependencies=[LogInsThrottled])
def log_in(fields: Fields, request: Request, service: Tokens) -> JsonAnswer:
    """Exchange a user name and a password for a token (form, JSON or multipart)."""
    return JsonAnswer(service.log_in(fields, client_address(request)))


@router.post("/api-token/")
def create_token(account: CurrentAccount, fields: Fields, service: Tokens) -> JsonAnswer:
    """Make a token with a chosen expiry."""
    return JsonAnswer(service.create(account, fields))


@router.get("/active-api-tokens/")
def active_tokens(account: CurrentAccount, service: Tokens) -> JsonAnswer:
    """The caller's tokens of both families."""
    return JsonAnswer(service.all_of(account))


@router.delete("/active-api-tokens/")
def remove_token(request: Request, account: CurrentAccount, service: Tokens) -> JsonAnswer:
    """Remove one token of the caller, named by `?id=`."""
    service.remove(account, query_parameters(request).get("id", ""))
    return JsonAnswer({"detail": "Token removed"})
