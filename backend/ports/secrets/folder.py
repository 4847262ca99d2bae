"""Secrets in a folder: `<folder>/<tag, percent-encoded>/<index>` holds the bytes of one key."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote


class FolderSecrets:
    """A folder that only the organization's user may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def chainkeys(self, tag: str) -> dict[str, bytes]:
        found = {path.name: path.read_bytes() for path in self._files(tag)}
        return {index: key for index, key in found.items() if key}

    def erase(self, tag: str) -> None:
        for path in self._files(tag):
            path.write_bytes(b"")

    def _files(self, tag: str) -> Iterator[Path]:
        folder = self._folder / quote(tag, safe=" ").replace(".", "%2E")
        if folder.is_dir():
            yield from sorted(path for path in folder.iterdir() if path.is_file())
