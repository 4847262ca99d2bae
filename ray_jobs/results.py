"""Judge and collect a function's outputs, from files alone (rule 16)."""

import hashlib
import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

from ray_jobs.lease import PERFORMANCE, Lease, Output
from ray_jobs.performances import LONGEST, NotAPerformance, performance
from ray_jobs.scratch import TaskFolders
from ray_jobs.staging import output_file

_CHUNK = 1 << 20


class BadOutput(Exception):
    """An output is missing or is not what it was declared to be: the function's fault."""


def collect(
    lease: Lease, folders: TaskFolders, outbox: Path, most_bytes: int, ended: threading.Event
) -> list[dict[str, Any]]:
    """Check every declared output, hash models and move them to `outbox`, out of ring 3's reach.

    `most_bytes` is the limit of all outputs together, 0 is none; `ended` stops the hashing of large ones.

    Files are reached through the descriptor taken before the function ran, and never through a link.

    Raises:
        BadOutput: its text is for the user.
        OSError: no space, no permission: ours; InterruptedError after `ended`.
    """
    opened: list[tuple[Output, int]] = []
    try:
        for output in lease.outputs:
            opened.append((output, _open(output, folders.outputs)))
        total = sum(os.fstat(descriptor).st_size for _output, descriptor in opened)
        if most_bytes and total > most_bytes:
            raise BadOutput(f"its outputs have {total} bytes, more than the {most_bytes} allowed")
        return [
            _performance(output, descriptor)
            if output.kind == PERFORMANCE
            else _model(output, descriptor, folders, outbox, lease.task, ended)
            for output, descriptor in opened
        ]
    finally:
        for _output, descriptor in opened:
            os.close(descriptor)


def _open(output: Output, folder: int) -> int:
    name = output_file(output)
    try:
        mode = os.lstat(name, dir_fd=folder).st_mode if os.supports_dir_fd else 0
    except FileNotFoundError:
        raise BadOutput(f"output {output.identifier!r} was not written") from None
    if not stat.S_ISREG(mode):
        raise BadOutput(f"output {output.identifier!r} is not a regular file")
    if not mode & stat.S_IRUSR:
        os.chmod(name, 0o600, dir_fd=folder)
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)


def _performance(output: Output, descriptor: int) -> dict[str, Any]:
    try:
        value = performance(output.identifier, os.read(descriptor, LONGEST + 1))
    except NotAPerformance as error:
        raise BadOutput(str(error)) from None
    return {"identifier": output.identifier, "kind": output.kind, "value": value}


def _model(
    output: Output,
    descriptor: int,
    folders: TaskFolders,
    outbox: Path,
    task: str,
    ended: threading.Event,
) -> dict[str, Any]:
    target = outbox / output_file(output).removesuffix(".model")
    outbox.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = output_file(output)
    try:
        os.rename(name, target, src_dir_fd=folders.outputs)
    except OSError:  # another file system
        with os.fdopen(os.dup(descriptor), "rb") as reader, target.open("wb") as writer:
            shutil.copyfileobj(reader, writer, _CHUNK)
    target.chmod(0o600)
    digest = hashlib.sha256()
    size = 0
    with target.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if ended.is_set():
                raise InterruptedError("the task was ended")
    digest.update(task.encode("ascii"))
    return {
        "identifier": output.identifier,
        "kind": output.kind,
        "path": str(target),
        "checksum": digest.hexdigest(),
        "size": size,
    }
