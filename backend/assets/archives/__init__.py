"""Archives that strangers send: read with bounded memory and time, refused when they are not harmless."""

from backend.assets.archives.content import check, folder_hash, is_tar, unpack
from backend.assets.archives.errors import ArchiveRefused, NotAnArchive
from backend.assets.archives.reading import Entry, Kind, Limits, entries

__all__ = [
    "ArchiveRefused",
    "Entry",
    "Kind",
    "Limits",
    "NotAnArchive",
    "check",
    "entries",
    "folder_hash",
    "is_tar",
    "unpack",
]
