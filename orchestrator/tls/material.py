"""The certificate files of a server, read together, checked, and taken over again when they change.

Layout of the client authorities (orchestrator.md 2.3): `<root>/<organization id>/<any file>`, each file one or
more certificates in PEM form. Names that begin with a dot are left out: mounted volumes keep links there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from orchestrator.tls.paths import TlsFileError, TlsPaths

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes of all files at one moment. Equal contents are the same material."""

    certificate: bytes
    key: bytes = field(repr=False)
    server_ca: bytes = b""
    organizations: tuple[tuple[str, tuple[tuple[Path, bytes], ...]], ...] = ()
    """The files of each organization's folder, by organization id."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a handshake uses, and for each organization the authorities that may vouch for it."""

    certificate: bytes
    key: bytes = field(repr=False)
    authorities: bytes
    organizations: Mapping[str, tuple[x509.Certificate, ...]]

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key, self.certificate)], self.authorities or None
        )


def read(paths: TlsPaths) -> Content:
    """The files as they are now.

    Raises:
        OSError: one cannot be read.
    """
    return Content(
        certificate=paths.certificate.read_bytes(),
        key=paths.key.read_bytes(),
        server_ca=paths.server_ca.read_bytes() if paths.server_ca else b"",
        organizations=tuple(_folders(paths.client_cas)) if paths.client_cas else (),
    )


def check(paths: TlsPaths, content: Content) -> Material:
    """Material that will work: the key fits the certificate, every authority can be read.

    Raises:
        TlsFileError
    """
    own = certificates(paths.certificate, content.certificate)
    try:
        key = load_pem_private_key(content.key, None)
    except (ValueError, TypeError):
        raise TlsFileError(f"{paths.key}: no private key in PEM form without password") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != own[0].public_key().public_bytes(*form):
        raise TlsFileError(f"{paths.key} does not belong to the certificate {paths.certificate}")
    if own[0].not_valid_after_utc < datetime.now(UTC):
        log.warning("certificate_expired", file=str(paths.certificate))
    authorities = [content.server_ca] if content.server_ca else []
    if paths.server_ca:
        certificates(paths.server_ca, content.server_ca)
    organizations = {}
    for organization, files in content.organizations:
        # Only the first certificate of a file vouches for an organization (orchestrator.md 2.3).
        organizations[organization] = tuple(certificates(*file)[0] for file in files)
        authorities += [pem for _, pem in files]
    return Material(content.certificate, content.key, b"\n".join(authorities), organizations)


def certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one.

    Raises:
        TlsFileError
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise TlsFileError(f"{path}: no certificate in PEM form") from None


def _folders(root: Path) -> list[tuple[str, tuple[tuple[Path, bytes], ...]]]:
    folders = []
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            files = sorted(
                path
                for path in folder.iterdir()
                if path.is_file() and not path.name.startswith(".")
            )
            folders.append((folder.name, tuple((path, path.read_bytes()) for path in files)))
    return folders


class Credentials:
    """The server's credentials; `take` replaces the material for every later handshake."""

    def __init__(self, paths: TlsPaths) -> None:
        """Raises OSError or TlsFileError when the files cannot be used."""
        self._paths = paths
        self.content = read(paths)
        self.material = check(paths, self.content)
        self._handed: Material | None = None

    def read(self) -> Content:
        return read(self._paths)

    def take(self, content: Content) -> None:
        """Raises TlsFileError; the old material then stays."""
        self.material = check(self._paths, content)
        self.content = content

    def server(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(
            self.material.configuration(),
            self._fetch,  # type: ignore[arg-type]  # the stubs forget that None is allowed
            require_client_authentication=self._paths.mutual,
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked before every handshake, from a thread of gRPC; None for no change."""
        material = self.material
        if material is self._handed:
            return None
        self._handed = material
        return material.configuration()
