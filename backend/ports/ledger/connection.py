"""The gRPC channel to the ledger: address, TLS, pings; made anew when its certificates have been renewed."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import structlog

from backend.settings import Settings

log = structlog.get_logger(__name__)

MAX_MESSAGE = 64 * 1024 * 1024


class LedgerCertificateError(RuntimeError):
    """A certificate file that the settings name cannot be used; the text names the setting."""


@dataclass(frozen=True, slots=True)
class _Files:
    """Contents of the certificate files; equal ones make equal channels. None: the system's authorities."""

    authority: bytes | None
    key: bytes | None = field(repr=False)
    certificate: bytes | None = None

    @classmethod
    def read(cls, settings: Settings) -> "_Files | None":
        """None for a plain connection."""
        if not settings.ORCHESTRATOR_TLS_ENABLED:
            return None
        authority = settings.ORCHESTRATOR_TLS_SERVER_CACERT_PATH
        trusted = _content("SERVER_CACERT", authority) if authority else None
        if not settings.ORCHESTRATOR_MTLS_ENABLED:
            return cls(trusted, None)
        return cls(
            trusted,
            _content("CLIENT_KEY", settings.ORCHESTRATOR_TLS_CLIENT_KEY_PATH),
            _content("CLIENT_CERT", settings.ORCHESTRATOR_TLS_CLIENT_CERT_PATH),
        )


def _content(name: str, path: Path | None) -> bytes:
    setting = f"ORCHESTRATOR_TLS_{name}_PATH"
    if path is None:
        raise LedgerCertificateError(f"{setting} is needed for mutual TLS")
    try:
        return path.read_bytes()
    except OSError as error:
        raise LedgerCertificateError(f"{setting}: {path}: {error.strerror}") from None


class Connection:
    """One channel for all threads. `channel` may be another one after `renew`."""

    def __init__(self, settings: Settings) -> None:
        """Raises LedgerCertificateError when a certificate file cannot be read."""
        self._settings = settings
        self._lock = threading.Lock()
        self._files = _Files.read(settings)
        self.channel = self._made()

    def renew(self) -> None:
        """After a call that did not get through: connect with the certificates as they are now.

        Certificates live shorter than processes. Without a change nothing happens: gRPC reconnects by itself.
        """
        with self._lock:
            try:
                files = _Files.read(self._settings)
            except LedgerCertificateError as error:
                log.warning("ledger_certificate", reason=str(error))
                return
            if files == self._files:
                return
            log.info("ledger_certificates_changed")
            self._files = files
            self.channel = self._made()  # calls under way keep the old one until they end

    def close(self) -> None:
        self.channel.close()

    def _made(self) -> grpc.Channel:
        settings = self._settings
        target = f"{settings.ORCHESTRATOR_HOST}:{settings.ORCHESTRATOR_PORT}"
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.keepalive_time_ms", settings.ORCHESTRATOR_GRPC_KEEPALIVE_TIME_MS),
            ("grpc.keepalive_timeout_ms", settings.ORCHESTRATOR_GRPC_KEEPALIVE_TIMEOUT_MS),
            (
                "grpc.keepalive_permit_without_calls",
                int(settings.ORCHESTRATOR_GRPC_KEEPALIVE_PERMIT_WITHOUT_CALLS),
            ),
            (
                "grpc.http2.max_pings_without_data",
                settings.ORCHESTRATOR_GRPC_KEEPALIVE_MAX_PINGS_WITHOUT_DATA,
            ),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            # Organizations of one process (tests, `--plain`) are different clients.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if self._files is None:
            return grpc.insecure_channel(target, options=options)
        credentials = grpc.ssl_channel_credentials(
            self._files.authority, self._files.key, self._files.certificate
        )
        return grpc.secure_channel(target, credentials, options=options)
