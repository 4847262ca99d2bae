"""The connection to an object store: address, region, style of its names, certificate authority, credentials.

Names of the settings: deployment.md section 15, and docs/storage.md for those that are new.
"""

import os
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.credentials.providers import (
    AWSConfigProvider,
    ChainedProvider,
    EnvAWSProvider,
    IamAwsProvider,
    Provider,
    StaticProvider,
)

from backend.ports.storage.protocol import StorageUnavailable
from backend.settings import Settings

CONNECT_S, READ_S = 10.0, 60.0
CONNECTIONS = 16
LOOK_AGAIN_S = 5.0
"""How old credentials from files may be: a rotated Secret is taken up without a restart."""


class FolderProvider(Provider):
    """Credentials from two files, as a mounted Secret has them; read again after a change.

    Raises (at use) StorageUnavailable: the files are not there, or empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._credentials: Credentials | None = None

    def retrieve(self) -> Credentials:
        with self._lock:
            now = time.monotonic()
            if self._credentials is None or now - self._read_at > LOOK_AGAIN_S:
                self._credentials = Credentials(
                    self._word("OBJECTSTORE_ACCESSKEY"), self._word("OBJECTSTORE_SECRETKEY")
                )
                self._read_at = now
            return self._credentials

    def _word(self, name: str) -> str:
        try:
            word = (self._folder / name).read_text("utf-8").strip()
        except OSError as error:
            raise StorageUnavailable(f"no credentials: {error}") from None
        if not word:
            raise StorageUnavailable(f"no credentials: {name} in {self._folder} is empty")
        return word


def credentials(settings: Settings) -> Provider:
    """Keys of the settings, else files, else what the machine has (environment, profile, workload identity)."""
    if settings.OBJECTSTORE_ACCESSKEY:
        return StaticProvider(settings.OBJECTSTORE_ACCESSKEY, settings.OBJECTSTORE_SECRETKEY)
    if settings.OBJECTSTORE_CREDENTIALS_FOLDER is not None:
        return FolderProvider(settings.OBJECTSTORE_CREDENTIALS_FOLDER)
    return ChainedProvider([EnvAWSProvider(), AWSConfigProvider(), IamAwsProvider()])


def endpoint(url: str) -> tuple[str, bool]:
    """Host with port, and whether TLS is spoken; `host:port` alone means without, as Substra 1.0 has it.

    Raises:
        ValueError: no address of a store (a path, a user, another scheme).
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError(f"OBJECTSTORE_URL is no address of an object store: {url!r}")
    return parts.netloc, parts.scheme == "https"


def connect(settings: Settings) -> Minio:
    """A thread-safe client; it opens no connection before its first use."""
    host, secure = endpoint(settings.OBJECTSTORE_URL)
    authority = settings.OBJECTSTORE_CA_PATH
    client = Minio(
        host,
        secure=secure,
        region=settings.OBJECTSTORE_REGION or None,
        credentials=credentials(settings),
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            maxsize=CONNECTIONS,
            retries=urllib3.Retry(
                total=3, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)
            ),
            cert_reqs="CERT_REQUIRED",
            ca_certs=str(authority or os.environ.get("SSL_CERT_FILE") or certifi.where()),
        ),
    )
    if settings.OBJECTSTORE_PATH_STYLE is True:
        client.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
    elif settings.OBJECTSTORE_PATH_STYLE is False:
        client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
    return client
