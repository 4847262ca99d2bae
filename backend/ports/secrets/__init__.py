"""Where secrets of compute plans come from: a folder, or Kubernetes."""

from backend.ports.secrets.folder import FolderSecrets
from backend.ports.secrets.kubernetes import KubernetesSecrets
from backend.ports.secrets.protocol import SecretStore
from backend.settings import Settings

__all__ = ["FolderSecrets", "KubernetesSecrets", "SecretStore", "open_secrets"]


def open_secrets(settings: Settings) -> SecretStore:
    """The store that the settings name: a folder where one is given, else the cluster's Secrets."""
    if settings.CHAINKEYS_FOLDER is not None:
        return FolderSecrets(settings.CHAINKEYS_FOLDER)
    return KubernetesSecrets.in_cluster(settings.K8S_SECRET_NAMESPACE)
