"""Where an organization keeps its files: one small protocol, implemented per kind of store."""

from backend.ports.storage.filesystem import FilesystemStorage
from backend.ports.storage.opening import open_storage
from backend.ports.storage.protocol import (
    Described,
    Storage,
    StorageUnavailable,
    Stored,
    StoredFileMissing,
    Writer,
    WrongContent,
)

__all__ = [
    "Described",
    "FilesystemStorage",
    "Storage",
    "StorageUnavailable",
    "Stored",
    "StoredFileMissing",
    "Writer",
    "WrongContent",
    "open_storage",
]
