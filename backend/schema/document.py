"""The OpenAPI document of an application: its routes, with what is declared of each.

The routes read their parameters and bodies themselves (rest-api.md 6 and 25 ask for more leniency than a
framework has), so what they take and answer is declared beside them, as data. Tests hold the declaration
against the routes and the answers.
"""

from typing import Any

from fastapi import FastAPI

from backend.schema import operations_accounts, operations_assets, operations_results
from backend.schema.operation import Operation
from backend.schema.parts import BYTES, COUNT, KEY, Schema, example, ref, text
from backend.schema.shapes import SHAPES, TASK_STEPS

OPERATIONS = (
    *operations_accounts.OPERATIONS,
    *operations_assets.OPERATIONS,
    *operations_results.OPERATIONS,
)
Route = dict[str, Any]
DOWNLOADS = ("/file/", "/description/", "/image/", "/opener/", "/logs/")
SECURITY: dict[str, Schema] = {
    "token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Token <key>`, with a key of POST /api-token-auth/ or /api-token/.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "signature",
        "description": "Cookies of POST /me/login/, and the header "
        "`Authorization: JWT <value of the cookie header.payload>`.",
    },
    "refresh": {"type": "apiKey", "in": "cookie", "name": "refresh"},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "An organization's id and secret, with the header Substra-Channel-Name; or a user's "
        "name and password.",
    },
}
_USER: list[dict[str, list[str]]] = [{"token": []}, {"session": []}]
ALLOWED = {
    "anyone": [],
    "user": _USER,
    "admin": _USER,
    "user or organization": [*_USER, {"basic": []}],
    "own backend": [{"basic": []}],
    "refresh cookie": [{"refresh": []}],
}


def differences(app: FastAPI) -> set[tuple[str, str]]:
    """Routes (method, path) without a declaration, and of declarations without a route: mistakes of ours."""
    return {(operation.method, operation.path) for operation in OPERATIONS} ^ _routes(app).keys()


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document, OpenAPI 3.0.3."""
    routes = _routes(app)
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        route = routes.get((operation.method, operation.path))
        if route is not None:
            found = _operation(operation, route)
            paths.setdefault(operation.path, {})[operation.method.lower()] = found
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Substra Ray",
            "version": app.version,
            "description": "The REST API of one organization.",
        },
        "paths": paths,
        "components": {"schemas": SHAPES, "securitySchemes": SECURITY},
    }


def _routes(app: FastAPI) -> dict[tuple[str, str], Route]:
    """What the framework knows of its routes: tags, and the description that is the handler's docstring."""
    return {
        (method.upper(), path): operation
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    }


def _operation(operation: Operation, route: Route) -> dict[str, Any]:
    summary, _, more = route.get("description", "").partition("\n\n")
    found: dict[str, Any] = {
        "operationId": route["operationId"],
        "summary": " ".join(summary.split()),
        "tags": route.get("tags", []),
        "x-who": operation.who,
        "security": ALLOWED[operation.who],
        "responses": _responses(operation),
    }
    if more and not more.startswith("Raises"):
        found["description"] = more.partition("\n\nRaises:")[0]
    if parameters := [*_path_parameters(operation.path), *operation.parameters]:
        found["parameters"] = parameters
    if operation.body:
        found["requestBody"] = {
            "required": operation.body_required,
            "content": {kind: _content(schema) for kind, schema in operation.body.items()},
        }
    return found


def _path_parameters(path: str) -> list[dict[str, Any]]:
    schemas = {"key": KEY, "username": text("alice"), "step": text(TASK_STEPS[0]), "pk": COUNT}
    schemas |= {"cluster": text("compute"), "path": text("api/jobs/")}
    return [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in schemas.items()
        if f"{{{name}}}" in path
    ]


def _content(schema: Schema) -> dict[str, Any]:
    return {"schema": schema, "example": shown(schema)}


def shown(schema: Schema) -> Any:
    """The example of a body; a part that holds JSON as text shows it as text."""
    if "x-json" in schema.get("properties", {}).get("json", {}):
        inner = example(schema["properties"]["json"]["x-json"], SHAPES)
        files = {name: "(bytes)" for name in schema["properties"] if name != "json"}
        return {"json": inner, **files}
    return example(schema, SHAPES)


def _responses(operation: Operation) -> dict[str, Any]:
    error = {
        "description": "Refused: `detail` or a message for each field.",
        "content": {"application/json": {"schema": ref("Error")}},
    }
    unavailable = {**error, "description": "Not now; repeat after `Retry-After` seconds."}
    success: dict[str, Any] = {"description": "Success."}
    if isinstance(operation.answer, str):
        kinds = operation.answer.split(", ")
        success["content"] = {
            kind: {"schema": {} if kind.endswith("json") else BYTES} for kind in kinds
        }
    elif operation.answer is not None:
        success["content"] = {"application/json": _content(operation.answer)}
    responses = {str(operation.status): success, "4XX": error, "503": unavailable}
    if operation.method == "GET" and (operation.who != "anyone" or operation.path == "/info/"):
        responses["304"] = {"description": "The caller has it already (`If-None-Match`)."}
    if operation.path.startswith("/ray-dashboard/"):
        responses["502"] = {**error, "description": "The cluster's head does not answer."}
    if operation.path == "/performance/export/":
        responses["206"] = {**success, "description": "The range asked for."}
    if operation.path.endswith(DOWNLOADS):
        responses["206"] = {**success, "description": "The range asked for."}
        responses["504"] = {**error, "description": "The owner cannot be reached."}
    return responses
