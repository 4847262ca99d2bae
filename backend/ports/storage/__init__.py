"""Where an organization keeps its files: one small protocol, implemented per kind of store."""

from backend.ports.storage.filesystem import FilesystemStorage
from backend.ports.storage.protocol import Storage, Stored, StoredFileMissing, Writer

__all__ = ["FilesystemStorage", "Storage", "Stored", "StoredFileMissing", "Writer"]
