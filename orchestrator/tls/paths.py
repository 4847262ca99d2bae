"""Which certificate files a server has. Without them nothing of the certificate library is loaded (8 MB)."""

from dataclasses import dataclass
from pathlib import Path


class TlsFileError(ValueError):
    """A certificate or key cannot be used; the text names the file and the reason."""


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """Files of a server with TLS; with `server_ca` and `client_cas` it asks clients for certificates too."""

    certificate: Path
    key: Path
    server_ca: Path | None = None
    client_cas: Path | None = None

    @property
    def mutual(self) -> bool:
        return self.client_cas is not None
