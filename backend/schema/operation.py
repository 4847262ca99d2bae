"""One route of the document: who may call it, what it takes, what it answers."""

from dataclasses import dataclass
from typing import Any, Literal

from backend.schema.parts import BYTES, COUNT, KEY, MOMENT, NUMBER, Schema, array, choice, text

Who = Literal["anyone", "user", "admin", "user or organization", "own backend", "refresh cookie"]
Parameter = dict[str, Any]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


@dataclass(frozen=True)
class Operation:
    """`answer`: the body's schema, the media types (a comma list) of one without a schema, None for no body."""

    method: str
    path: str
    who: Who
    answer: Schema | str | None
    status: int = 200
    parameters: tuple[Parameter, ...] = ()
    body: dict[str, Schema] | None = None
    body_required: bool = True


def query(name: str, schema: Schema, **more: Any) -> Parameter:
    return {"name": name, "in": "query", "required": False, "schema": schema, **more}


def commas(name: str, items: Schema) -> Parameter:
    """A comma list: one of the values."""
    return query(name, array(items, example=[_shown(items)]), style="form", explode=False)


def _shown(items: Schema) -> Any:
    return items.get("example", "text")


def ordering(*fields: str) -> Parameter:
    names = [sign + name for name in fields for sign in ("", "-")]
    return commas("ordering", choice(*names))


def period(*names: str) -> tuple[Parameter, ...]:
    """Inclusive bounds of dates."""
    return tuple(query(f"{name}_{end}", MOMENT) for name in names for end in ("after", "before"))


def between(name: str) -> tuple[Parameter, ...]:
    """Inclusive bounds of a number."""
    return tuple(query(f"{name}_{end}", NUMBER) for end in ("min", "max"))


PAGE = (query("page", {**COUNT, "example": 1}), query("page_size", {**COUNT, "example": 30}))
MATCH = query("match", text("logistic", description="Every word is found in a search field."))
KEYS = commas("key", KEY)
OWNERS = commas("owner", text("MyOrg1MSP"))
METADATA = query(
    "metadata",
    text(
        '[{"key":"a","type":"is","value":"b"}]',
        description="JSON: conditions of type `is`, `contains` or `exists`.",
    ),
)


def json_or_form(schema: Schema) -> dict[str, Schema]:
    return {JSON: schema, FORM: schema}


def multipart(fields: Schema, **files: Schema) -> dict[str, Schema]:
    """A part `json` that holds an object as text, and files."""
    properties = {"json": {"type": "string", "x-json": fields}, **files}
    return {MULTIPART: {"type": "object", "properties": properties, "required": list(properties)}}


FILE = BYTES
