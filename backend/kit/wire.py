"""Between the ledger's messages and columns: permissions and names of asset kinds."""

from typing import Any

from protos.orchestrator import common_pb2


def name_of(enum: Any, number: int) -> str:
    """A value's name; numbers that this version does not know get that of 0, which means unknown everywhere.

    A newer ledger may know more values than we do, and the event that brings one must not be lost.
    """
    values = enum.DESCRIPTOR.values_by_number
    return str(values.get(number, values[0]).name)


def kind_name(kind: int) -> str:
    """`ASSET_MODEL` for its number, ASSET_UNKNOWN for an unknown one."""
    return name_of(common_pb2.AssetKind, kind)


def permission_columns(name: str, permission: common_pb2.Permission) -> dict[str, bool | list[str]]:
    """`<name>_public` and `<name>_authorized_ids`."""
    ids = list(permission.authorized_ids)
    return {f"{name}_public": permission.public, f"{name}_authorized_ids": ids}
