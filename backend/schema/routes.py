"""The document and its page (rest-api.md 5.3), for whoever is logged in."""

import orjson
import yaml
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from backend.access.caller import CurrentCaller
from backend.kit.parameters import query_parameters
from backend.schema.document import document
from backend.schema.pages import page

router = APIRouter(tags=["schema"])
YAML = "application/vnd.oai.openapi"
JSON = "application/vnd.oai.openapi+json"


@router.get("/schema/")
def show_schema(request: Request, caller: CurrentCaller) -> Response:
    """The OpenAPI document: YAML, or JSON with `?format=json` or an `Accept` of JSON."""
    accepted = request.headers.get("accept", "")
    prefix = request.scope.get("root_path", "")
    content = {**document(request.app), "servers": [{"url": prefix or "/"}]}
    if query_parameters(request).get("format") == "json" or "json" in accepted.partition(";")[0]:
        headers = {"Content-Disposition": 'inline; filename="schema.json"'}
        return Response(orjson.dumps(content), headers=headers, media_type=JSON)
    headers = {"Content-Disposition": 'inline; filename="schema.yaml"'}
    text = yaml.dump(content, Dumper=_Plain, sort_keys=False, allow_unicode=True)
    return Response(text, headers=headers, media_type=YAML)


class _Plain(yaml.SafeDumper):
    """Repeats what is shared: anchors only confuse readers."""

    def ignore_aliases(self, data: object) -> bool:
        return True


@router.get("/schema/swagger-ui/")
def show_page(request: Request, caller: CurrentCaller) -> HTMLResponse:
    """The document as a page to read."""
    return _page(request)


@router.get("/schema/redoc/")
def show_other_page(request: Request, caller: CurrentCaller) -> HTMLResponse:
    """The same page, at the other address that readers know."""
    return _page(request)


def _page(request: Request) -> HTMLResponse:
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(
        page(document(request.app), request.scope.get("root_path", "")), headers=headers
    )
