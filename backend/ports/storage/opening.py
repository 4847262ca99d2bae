"""Which storage an organization's settings mean."""

from backend.ports.storage.filesystem import FilesystemStorage
from backend.ports.storage.protocol import Storage
from backend.settings import Settings


def open_storage(settings: Settings) -> Storage:
    """A bucket when OBJECTSTORE_URL is set, else files below MEDIA_ROOT. Nothing is connected yet.

    Raises:
        ValueError: OBJECTSTORE_URL is no address of a store.
    """
    if not settings.OBJECTSTORE_URL:
        return FilesystemStorage(settings.MEDIA_ROOT)
    from backend.ports.storage.s3 import S3Storage  # 40 ms that embedded processes need not pay
    from backend.ports.storage.s3_client import connect

    return S3Storage(
        connect(settings),
        settings.OBJECTSTORE_BUCKET,
        settings.MEDIA_ROOT,
        prefix=settings.OBJECTSTORE_PREFIX,
        part_size=settings.OBJECTSTORE_PART_BYTES,
    )
