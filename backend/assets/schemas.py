"""Shapes that several assets share (rest-api.md 7)."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from backend.assets.refusals import UploadRefused
from backend.kit.exception_answers import field_messages
from protos.orchestrator import common_pb2

S = TypeVar("S", bound=BaseModel)


class NewPermission(BaseModel):
    """Who may use an asset, as given at its creation; the ledger adds the owner."""

    public: bool
    authorized_ids: list[str] = []

    def message(self) -> common_pb2.NewPermissions:
        return common_pb2.NewPermissions(public=self.public, authorized_ids=self.authorized_ids)


def validated_upload(schema: type[S], document: Mapping[str, Any]) -> S:
    """The `json` part of an upload as an instance of `schema`.

    Raises:
        UploadRefused: 400 with the fields that do not fit.
    """
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        raise UploadRefused(field_messages(error.errors(include_url=False))) from None
