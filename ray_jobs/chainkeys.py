"""Chainkeys of a plan (compute.md 6): the task gets a writable copy, which is taken back after a success."""

import os
import shutil
import stat
from pathlib import Path

from ray_jobs.results import BadOutput
from ray_jobs.scratch import TaskFolders

IDENTIFIER = "chainkeys"
MOST_FILES = 100
MOST_BYTES = 1 << 20


def place(source: Path, folders: TaskFolders) -> Path:
    """Copy the plan's folder, whose files are ours, to where the function may write."""
    target = folders.write / IDENTIFIER
    target.mkdir(mode=0o700)
    for file in sorted(source.iterdir()):
        shutil.copyfile(file, target / file.name)
    return target


def take_back(folders: TaskFolders, outbox: Path) -> Path:
    """Copy what the function left to the outbox; its folder there.

    Nothing is reached through a link: the function may have put one in any place.

    Raises:
        BadOutput: too much, or what is no regular file; its text is for the user.
    """
    target = outbox / IDENTIFIER
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True, mode=0o700)
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        folder = os.open(folders.write / IDENTIFIER, flags)
    except OSError:
        raise BadOutput("the folder of its chainkeys is gone") from None
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208  a descriptor
        if len(names) > MOST_FILES:
            raise BadOutput(f"it left more than {MOST_FILES} files beside its chainkeys")
        left = MOST_BYTES
        for name in names:
            content = _content(name, folder, left)
            left -= len(content)
            (target / name).write_bytes(content)
    finally:
        os.close(folder)
    return target


def _content(name: str, folder: int, most: int) -> bytes:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(name, flags, dir_fd=folder)
    except OSError:
        raise BadOutput("a file beside its chainkeys cannot be read") from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise BadOutput("beside its chainkeys lies what is no regular file")
        with os.fdopen(os.dup(file), "rb") as reader:
            content = reader.read(most + 1)
    finally:
        os.close(file)
    if len(content) > most:
        raise BadOutput(f"its chainkeys have more than {MOST_BYTES} bytes")
    return content
