"""Data samples that lie as folders on the server's own volume (rest-api.md 10.2, path mode)."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from backend.assets.refusals import SampleRefused
from backend.kit.errors import BadRequest
from backend.ports.storage import Writer

MOST_FOLDERS = 10_000


def named_folders(fields: dict[str, object], volume: Path) -> list[Path]:
    """The folders that `path`, `paths` and `multiple` name, checked.

    Raises:
        BadRequest: `path` beside `paths`, something that is no text, or no folder at all (400).
        SampleRefused: a folder that is not acceptable (400).
    """
    path, paths = fields.get("path"), fields.get("paths")
    if path and paths:
        raise BadRequest("Cannot use path and paths together.")
    named = [path] if path else paths if isinstance(paths, list) else []
    if not all(isinstance(name, str) and name for name in named) or len(named) > MOST_FOLDERS:
        raise BadRequest("path and paths must name folders")
    folders = [Path(str(name)) for name in named]
    if fields.get("multiple") in (True, "true", "True"):
        folders = [child for folder in folders for child in _children(folder, volume)]
    for folder in folders:
        _check(folder, volume)
    return folders


def _check(folder: Path, volume: Path) -> None:
    try:
        _check_readable(folder, volume)
    except OSError:  # a name that no file system holds, or a folder that we may not read
        raise SampleRefused(f"Invalid path, not found: {folder}") from None


def _children(folder: Path, volume: Path) -> list[Path]:
    _check(folder, volume)
    children = sorted(child for child in folder.iterdir() if child.is_dir())
    if not children:
        raise BadRequest(f"No data sample folder in {folder}")
    return children


def _check_readable(folder: Path, volume: Path) -> None:
    root = Path(os.path.normpath(volume))
    normal = Path(os.path.normpath(folder))
    if not normal.is_absolute() or root not in normal.parents:
        raise SampleRefused(f"Invalid path, should be a subdir of servermedias {folder}")
    if normal.is_symlink():
        raise SampleRefused(f"Invalid path, {folder} should not use symlink")
    if not normal.exists():
        raise SampleRefused(f"Invalid path, not found: {folder}")
    if not normal.resolve().is_relative_to(root.resolve()):
        raise SampleRefused(f"Invalid path, {folder} should not use symlink")
    if not normal.is_dir():
        raise SampleRefused(f"Invalid path, not a directory: {folder}")
    if not any(normal.iterdir()):
        raise SampleRefused(f"Invalid path, empty directory: {folder}")
    for entry in _entries(normal):
        if entry.is_symlink():
            raise SampleRefused(f"Invalid path, {entry} should not use symlink")
        if not (entry.is_file() or entry.is_dir()):
            raise SampleRefused(f"Invalid path, not a file or directory: {entry}")


def _entries(folder: Path) -> Iterator[Path]:
    """Everything below a folder, in order, links not followed."""
    for root, directories, files in os.walk(folder):
        directories.sort()
        for name in sorted([*directories, *files]):
            yield Path(root, name)


def pack(folder: Path, writer: Writer) -> None:
    """Write a folder's content as a tar, file by file."""
    with tarfile.open(fileobj=cast("IO[bytes]", writer), mode="w|") as archive:
        for entry in _entries(folder):
            archive.add(entry, arcname=str(entry.relative_to(folder)), recursive=False)
