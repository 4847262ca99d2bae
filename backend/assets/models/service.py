"""Models: read, registered by this organization's own components, and who may have the file."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from google.protobuf.json_format import ParseDict, ParseError

from backend.access.caller import Caller
from backend.assets.models import events, store
from backend.kit.errors import Invalid, NotFound, PermissionDenied
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.node import Node
from protos.orchestrator import model_pb2

MODEL = "Model"


class ModelService:
    """`base` is the address under which the caller reached this server: addresses of files point to it."""

    def __init__(self, node: Node, caller: Caller, base: str) -> None:
        self._node = node
        self._caller = caller
        self._channel = caller.channel
        self._base = base

    def page(self, parameters: Parameters) -> tuple[Page, list[dict[str, Any]]]:
        """One page of the channel's models."""
        request = PageRequest.of(parameters, maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE)
        with self._node.database.reading() as connection:
            page = store.page(connection, self._channel, parameters, request)
        return page, [store.wire(row, self._base) for row in page.rows]

    def find(self, key: UUID) -> dict[str, Any]:
        """Raises NotFound: unknown in the caller's channel (404)."""
        with self._node.database.reading() as connection:
            row = store.find(connection, self._channel, key)
        if row is None:
            raise NotFound.of(MODEL)
        return store.wire(row, self._base)

    def register(self, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Insert models that the ledger has registered before their events arrive.

        Raises:
            PermissionDenied: not one of our own components (403).
            Invalid: `metadata` is no JSON list of models (400).
        """
        if not (self._caller.is_organization and self._caller.organization == self._node.own):
            raise PermissionDenied
        models = [_parsed(entry) for entry in _listed(fields.get("metadata"))]
        keys = [UUID(model.key) for model in models]
        with self._node.database.transaction() as session:
            events.register(session, self._channel, models)
            found = store.wire_by_key(session, self._channel, keys, self._base)
        return [found[key] for key in keys if key in found]


def _listed(document: object) -> list[Any]:
    try:
        entries = orjson.loads(document) if isinstance(document, str) else document
    except orjson.JSONDecodeError:
        entries = None
    if not isinstance(entries, list):
        raise Invalid({"metadata": ["Expected a JSON list of models."]})
    return entries


def _parsed(entry: object) -> model_pb2.Model:
    model = model_pb2.Model()
    try:
        ParseDict(entry, model, ignore_unknown_fields=True)  # type: ignore[arg-type]
        model.key, model.compute_task_key = str(UUID(model.key)), str(UUID(model.compute_task_key))
    except (ParseError, ValueError, TypeError, AttributeError):
        raise Invalid({"metadata": ["Expected a JSON list of models."]}) from None
    return model
