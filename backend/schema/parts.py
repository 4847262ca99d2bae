"""Building blocks of the declared schema: OpenAPI 3.0.3 as plain documents, each leaf with an example."""

from typing import Any

Schema = dict[str, Any]

KEY: Schema = {
    "type": "string",
    "format": "uuid",
    "example": "2f9b1c62-6c1d-4d0e-9a51-3b1f2f1c7a10",
}
MOMENT: Schema = {
    "type": "string",
    "format": "date-time",
    "example": "2026-02-03T04:05:06.000789Z",
}
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number", "example": 0.5}
COUNT: Schema = {"type": "integer", "minimum": 0, "example": 3}
FLAG: Schema = {"type": "boolean", "example": False}
ANYTHING: Schema = {"example": {}}
EMPTY: Schema = {"type": "object", "maxProperties": 0, "example": {}}
BYTES: Schema = {"type": "string", "format": "binary"}


def text(example: str, **rules: Any) -> Schema:
    return {"type": "string", "example": example, **rules}


def choice(*values: str) -> Schema:
    return {"type": "string", "enum": list(values), "example": values[0]}


def array(items: Schema, **rules: Any) -> Schema:
    return {"type": "array", "items": items, **rules}


def mapping(values: Schema, example: Any = None) -> Schema:
    """An object with any keys, whose values are all of one kind."""
    shown = {} if example is None else example
    return {"type": "object", "additionalProperties": values, "example": shown}


def nullable(schema: Schema, example: Any = None) -> Schema:
    inner = {"allOf": [schema]} if "$ref" in schema else {**schema}
    inner.pop("example", None)
    return {**inner, "nullable": True, "example": example}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def record(optional: tuple[str, ...] = (), /, **fields: Schema) -> Schema:
    """An object; every field is required unless it is named in `optional`."""
    required = [name for name in fields if name not in optional]
    schema: Schema = {"type": "object", "properties": fields}
    return {**schema, "required": required} if required else schema


def page(items: Schema) -> Schema:
    """A page of a list (rest-api.md 6.1)."""
    address = nullable({"type": "string", "format": "uri"})
    return record(count=COUNT, next=address, previous=address, results=array(items))


def example(schema: Schema, components: dict[str, Schema]) -> Any:
    """A value that fits the schema, put together from the examples of its parts."""
    if "example" in schema:
        return schema["example"]
    if "$ref" in schema:
        return example(components[schema["$ref"].rpartition("/")[2]], components)
    for several in ("allOf", "oneOf", "anyOf"):
        if several in schema:
            return example(schema[several][0], components)
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            return {name: example(field, components) for name, field in fields.items()}
        case "array":
            return [example(schema["items"], components)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
    return schema.get("enum", ["text"])[0]
