"""Between the ledger's messages and columns: permissions and names of asset kinds."""

from protos.orchestrator import common_pb2


def kind_name(kind: int) -> str:
    """`ASSET_MODEL` for its number; numbers that this version does not know become ASSET_UNKNOWN."""
    try:
        return common_pb2.AssetKind.Name(kind)  # type: ignore[arg-type]
    except ValueError:
        return "ASSET_UNKNOWN"


def permission_columns(name: str, permission: common_pb2.Permission) -> dict[str, bool | list[str]]:
    """`<name>_public` and `<name>_authorized_ids`."""
    ids = list(permission.authorized_ids)
    return {f"{name}_public": permission.public, f"{name}_authorized_ids": ids}
