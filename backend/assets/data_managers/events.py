"""What the ledger's events do to data managers: they come, and they are renamed."""

from datetime import UTC
from typing import Any

from sqlmodel import Session

from backend.assets.data_managers.tables import DataManager
from backend.kit.bulk import insert_rows
from backend.kit.columns import core
from backend.kit.wire import permission_columns
from protos.orchestrator import common_pb2, datamanager_pb2, event_pb2


def apply(session: Session, event: event_pb2.Event) -> None:
    """DATA_MANAGER events; the first one seen of a data manager inserts it, whatever its kind."""
    manager = event.data_manager
    if register(session, event.channel, manager):
        return
    if event.event_kind == event_pb2.EVENT_ASSET_UPDATED:
        table = core(DataManager)
        session.connection().execute(
            table.update()
            .where(table.c.key == manager.key, table.c.channel == event.channel)
            .values(name=manager.name)
        )


def register(session: Session, channel: str, manager: datamanager_pb2.DataManager) -> bool:
    """Insert a data manager in the ledger's form unless it is known; whether it was new."""
    return bool(insert_rows(session, DataManager, [_row(channel, manager)]))


def _row(channel: str, manager: datamanager_pb2.DataManager) -> dict[str, Any]:
    logs = manager.logs_permission
    if not manager.HasField("logs_permission"):  # of an older ledger: private to the owner
        logs = common_pb2.Permission(public=False, authorized_ids=[manager.owner])
    return {
        "key": manager.key,
        "channel": channel,
        "name": manager.name,
        "owner": manager.owner,
        "creation_date": manager.creation_date.ToDatetime(UTC),
        "metadata": dict(manager.metadata),
        "description_address": manager.description.storage_address,
        "description_checksum": manager.description.checksum,
        "opener_address": manager.opener.storage_address,
        "opener_checksum": manager.opener.checksum,
        **permission_columns("permissions_process", manager.permissions.process),
        **permission_columns("permissions_download", manager.permissions.download),
        **permission_columns("logs_permission", logs),
    }
