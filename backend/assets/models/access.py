"""Who may have the file of a model: the three cases of rest-api.md 18, as pure rules."""

from dataclasses import dataclass

from backend.access.caller import Caller
from backend.kit.errors import PermissionDenied


@dataclass(frozen=True, slots=True)
class Granted:
    """One of a model's permissions: everybody, or the organizations named."""

    public: bool
    authorized_ids: tuple[str, ...]

    def to(self, organization: str) -> bool:
        return self.public or organization in self.authorized_ids


def check_download(
    caller: Caller, own: str, *, process: Granted, download: Granted, export_enabled: bool
) -> None:
    """A worker of another organization needs `process`; whoever exports for a person needs `download`.

    `own` is this organization's id, `export_enabled` the channel's option here.

    Raises:
        PermissionDenied: not permitted, or export is switched off here (403).
    """
    if caller.is_organization and not caller.proxied:
        if not process.to(caller.organization):
            raise PermissionDenied("Unauthorized")
        return
    if not export_enabled:
        raise PermissionDenied(f"Disabled: model_export_enabled is disabled on {own}")
    if not download.to(caller.organization):
        raise PermissionDenied("Unauthorized")
