"""Between the ledger's messages and rows: moments, permissions, names of enum values."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from protos.orchestrator import common_pb2

KIND = common_pb2.AssetKind


def moment_of(timestamp: Timestamp) -> datetime:
    """An aware UTC datetime; what lies below microseconds is cut off."""
    return datetime.fromtimestamp(timestamp.seconds, UTC).replace(
        microsecond=timestamp.nanos // 1000
    )


def kind_name(kind: int) -> str:
    """`ASSET_MODEL` for its number; numbers that this version does not know become ASSET_UNKNOWN."""
    try:
        return KIND.Name(kind)  # type: ignore[arg-type]
    except ValueError:
        return "ASSET_UNKNOWN"


def key_of(text: str) -> UUID:
    return UUID(text)


def permission_columns(
    name: str, permission: common_pb2.Permission
) -> dict[str, bool | Sequence[str]]:
    """`<name>_public` and `<name>_authorized_ids`."""
    ids = list(permission.authorized_ids)
    return {f"{name}_public": permission.public, f"{name}_authorized_ids": ids}


def new_permissions(permission: dict[str, Any]) -> common_pb2.NewPermissions:
    """The message for `{"public": bool, "authorized_ids": [...]}`."""
    return common_pb2.NewPermissions(
        public=permission["public"], authorized_ids=permission["authorized_ids"]
    )
