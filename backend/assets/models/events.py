"""What the ledger's events do to models: they come, and a transient one loses its address."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.assets.models.tables import Model
from backend.kit.bulk import insert_rows
from protos.orchestrator import event_pb2, model_pb2


def apply(session: Session, channel: str, events: Sequence[event_pb2.Event]) -> None:
    """MODEL events. A model that is disabled stays so, whatever comes again."""
    register(session, channel, [event.model for event in events])
    disabled = [UUID(e.model.key) for e in events if e.event_kind == event_pb2.EVENT_ASSET_DISABLED]
    if disabled:
        session.connection().execute(
            text(
                "UPDATE model SET model_address = NULL, model_checksum = NULL"
                " WHERE key = ANY(:keys) AND channel = :channel"
            ),
            {"keys": sorted(disabled), "channel": channel},
        )


def register(session: Session, channel: str, models: Sequence[model_pb2.Model]) -> list[UUID]:
    """Insert models that are not known yet, in the ledger's form; return the keys of the new ones."""
    first = {model.key: model for model in reversed(models)}
    return insert_rows(session, Model, [_row(channel, first[key]) for key in sorted(first)])


def _row(channel: str, model: model_pb2.Model) -> dict[str, Any]:
    present = model.HasField("address")
    process, download = model.permissions.process, model.permissions.download
    return {
        "key": model.key,
        "channel": channel,
        "compute_task_key": model.compute_task_key,
        "owner": model.owner,
        "creation_date": model.creation_date.ToDatetime(UTC),
        "model_address": model.address.storage_address if present else None,
        "model_checksum": model.address.checksum if present else None,
        "permissions_process_public": process.public,
        "permissions_process_authorized_ids": list(process.authorized_ids),
        "permissions_download_public": download.public,
        "permissions_download_authorized_ids": list(download.authorized_ids),
    }
