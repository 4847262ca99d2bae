"""What the ledger's events do to functions: they come, are renamed, get an image, and move forward."""

from datetime import UTC
from typing import Any

from sqlalchemy import case, or_
from sqlmodel import Session

from backend.assets.functions.tables import Function, FunctionInput, FunctionOutput
from backend.kit.bulk import insert_rows
from backend.kit.columns import core
from backend.kit.wire import kind_name, name_of, permission_columns
from protos.orchestrator import event_pb2, function_pb2

# A status moves only to one that stands later here (rule 4); the last three are final.
ORDER = {
    "FUNCTION_STATUS_UNKNOWN": 0,
    "FUNCTION_STATUS_WAITING": 1,
    "FUNCTION_STATUS_BUILDING": 2,
    "FUNCTION_STATUS_READY": 3,
    "FUNCTION_STATUS_CANCELED": 3,
    "FUNCTION_STATUS_FAILED": 3,
}


def apply(session: Session, event: event_pb2.Event) -> None:
    """FUNCTION events; the first one seen of a function inserts it, whatever its kind."""
    function = event.function
    if register(session, event.channel, function):
        return
    if event.event_kind == event_pb2.EVENT_ASSET_UPDATED:
        _update(session, event.channel, function)


def register(session: Session, channel: str, function: function_pb2.Function) -> bool:
    """Insert a function in the ledger's form unless it is known; whether it was new."""
    if not insert_rows(session, Function, [_row(channel, function)]):
        return False
    inputs = [
        {
            "function_key": function.key,
            "identifier": identifier,
            "channel": channel,
            "kind": kind_name(declared.kind),
            "optional": declared.optional,
            "multiple": declared.multiple,
        }
        for identifier, declared in sorted(function.inputs.items())
    ]
    outputs = [
        {
            "function_key": function.key,
            "identifier": identifier,
            "channel": channel,
            "kind": kind_name(declared.kind),
            "multiple": declared.multiple,
        }
        for identifier, declared in sorted(function.outputs.items())
    ]
    insert_rows(session, FunctionInput, inputs)
    insert_rows(session, FunctionOutput, outputs)
    return True


def status_name(function: function_pb2.Function) -> str:
    """`FUNCTION_STATUS_READY` for its number; unknown numbers become FUNCTION_STATUS_UNKNOWN."""
    return name_of(function_pb2.FunctionStatus, function.status)


def _update(session: Session, channel: str, function: function_pb2.Function) -> None:
    table = core(Function)
    status = status_name(function)
    known = case(ORDER, value=table.c.status, else_=0)
    forward = known < ORDER[status]
    values: dict[str, Any] = {
        "name": function.name,
        "status": case((forward, status), else_=table.c.status),
    }
    if function.image.checksum:
        values["image_address"] = function.image.storage_address
        values["image_checksum"] = function.image.checksum
    changed = [getattr(table.c, name).is_distinct_from(value) for name, value in values.items()]
    session.connection().execute(
        table.update()
        .where(table.c.key == function.key, table.c.channel == channel, or_(*changed))
        .values(**values)
    )


def _row(channel: str, function: function_pb2.Function) -> dict[str, Any]:
    image = function.image if function.image.checksum else None
    return {
        "key": function.key,
        "channel": channel,
        "name": function.name,
        "owner": function.owner,
        "creation_date": function.creation_date.ToDatetime(UTC),
        "metadata": dict(function.metadata),
        "status": status_name(function),
        "description_address": function.description.storage_address,
        "description_checksum": function.description.checksum,
        "archive_address": function.archive.storage_address,
        "archive_checksum": function.archive.checksum,
        "image_address": image.storage_address if image else None,
        "image_checksum": image.checksum if image else None,
        **permission_columns("permissions_process", function.permissions.process),
        **permission_columns("permissions_download", function.permissions.download),
    }
