"""Routes of the news feed (rest-api.md 15.2), which the front end polls every minute."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from backend.access.caller import CurrentCaller, SessionNode
from backend.assets.news_feed.service import NewsFeedService
from backend.kit.answers import JsonAnswer
from backend.kit.parameters import query_parameters

router = APIRouter(tags=["news feed"])


def news_feed_service(node: SessionNode, caller: CurrentCaller) -> NewsFeedService:
    return NewsFeedService(node, caller)


NewsFeed = Annotated[NewsFeedService, Depends(news_feed_service)]


@router.get("/news_feed/")
def list_news(request: Request, service: NewsFeed) -> JsonAnswer:
    """What happened to plans and data managers, newest first."""
    parameters = query_parameters(request)
    page, results = service.page(parameters)
    return page.answer(request, parameters, results)
