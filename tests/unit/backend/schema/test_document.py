"""The OpenAPI document: complete, sound, and the page printed from it is current."""

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from fastapi import FastAPI

from backend.app import create_app
from backend.schema.__main__ import reference
from backend.schema.document import OPERATIONS, differences, document
from backend.schema.parts import EMPTY, MOMENT, TEXT, example, nullable, page, record, ref
from backend.schema.shapes import SHAPES
from backend.settings import Settings

PAGE = Path(__file__).parents[4] / "docs" / "api.md"


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Settings(MSP_ID="MyOrg1MSP"))


def test_every_route_is_declared_and_every_declaration_has_a_route(app: FastAPI) -> None:
    assert differences(app) == set(), "see backend/schema/operations_*.py, then `make api`"
    found = document(app)
    operations = [schema for path in found["paths"].values() for schema in path.values()]
    assert len(operations) == len(OPERATIONS)
    assert all(operation["summary"].endswith(".") for operation in operations)
    for path, schemas in found["paths"].items():
        for operation in schemas.values():
            parameters = operation.get("parameters", [])
            declared = {one["name"] for one in parameters if one["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path)), path
    identifiers = [operation["operationId"] for operation in operations]
    assert len(set(identifiers)) == len(identifiers)


def test_a_route_without_a_declaration_is_named() -> None:
    app = create_app(Settings(MSP_ID="MyOrg1MSP"))
    app.get("/surprise/")(lambda: None)
    assert differences(app) == {("GET", "/surprise/")}


def test_the_document_is_understood_by_others(app: FastAPI) -> None:
    schema = schemathesis.openapi.from_dict(document(app))
    schema.validate()
    assert len(list(schema.get_all_operations())) == len(OPERATIONS)


def test_the_page_in_docs_is_current() -> None:
    assert PAGE.read_text("utf-8") == reference(), "run `make api`"


def _judged(schema: Any) -> Any:
    """The schema in JSON Schema's own words: `nullable` is OpenAPI 3.0's."""
    if isinstance(schema, list):
        return [_judged(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: _judged(value) for name, value in schema.items() if name != "nullable"}
    return {"anyOf": [inner, {"type": "null"}]} if schema.get("nullable") is True else inner


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_examples_fit_what_they_are_examples_of(operation: Any) -> None:
    schemas = [operation.answer] if isinstance(operation.answer, dict) else []
    schemas += [
        schema
        for kind, schema in (operation.body or {}).items()
        if not kind.startswith("multipart")
    ]
    for schema in schemas:
        whole = _judged({**schema, "components": {"schemas": SHAPES}})
        jsonschema_rs.validate(whole, example(schema, SHAPES))
    assert operation.path.startswith("/")


def test_an_example_is_put_together_from_its_parts() -> None:
    shapes = {"Thing": record(("note",), at=MOMENT, note=nullable(TEXT), nothing=EMPTY)}
    thing = {"at": MOMENT["example"], "note": None, "nothing": {}}
    assert example(page(ref("Thing")), shapes)["results"] == [thing]
