"""Judge a function's outputs from files alone (rule 16), and send models to the store without a copy."""

import hashlib
import os
import stat
import threading
from contextlib import ExitStack
from typing import IO, Any

from ray_jobs.lease import PERFORMANCE, Lease, Output
from ray_jobs.performances import LONGEST, NotAPerformance, performance
from ray_jobs.pod import transfer
from ray_jobs.staging import output_file

_CHUNK = 1 << 20


class Unfit(Exception):
    """An output is missing or is not what it was declared to be: the function's fault, in its user's words."""


def deliver(
    lease: Lease, folder: int, uploads: dict[str, str], most_bytes: int, ended: threading.Event
) -> list[dict[str, Any]]:
    """Check every declared output in the folder of descriptor `folder`, then hash and upload the models.

    Links are never followed; nothing writes there any more. `most_bytes` is of all outputs, 0 is no limit.

    Raises:
        Unfit: an output is not as declared; nothing was uploaded then.
        transfer.TransferFailed, KeyError: the store refused a file, the lease has no address for it.
        InterruptedError: `ended` came in between.
    """
    with ExitStack() as stack:
        opened = [(output, stack.enter_context(_open(output, folder))) for output in lease.outputs]
        total = sum(os.fstat(file.fileno()).st_size for _output, file in opened)
        if most_bytes and total > most_bytes:
            raise Unfit(f"its outputs have {total} bytes, more than the {most_bytes} allowed")
        values = {
            output: _performance(output, file)
            for output, file in opened
            if output.kind == PERFORMANCE
        }
        found = []
        for output, file in opened:
            known = {"identifier": output.identifier, "kind": output.kind}
            if output in values:
                found.append({**known, "value": values[output]})
                continue
            checksum, size = _digest(file, lease.task, ended)
            transfer.upload(uploads[output.identifier], file, output_file(output))
            found.append({**known, "checksum": checksum, "size": size})
        return found


def _open(output: Output, folder: int) -> IO[bytes]:
    name = output_file(output)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if not stat.S_ISREG(mode):
            raise Unfit(f"output {output.identifier!r} is not a regular file")
        return os.fdopen(os.open(name, flags, dir_fd=folder), "rb")
    except FileNotFoundError:
        raise Unfit(f"output {output.identifier!r} was not written") from None


def _performance(output: Output, file: IO[bytes]) -> float | str:
    try:
        return performance(output.identifier, file.read(LONGEST + 1))
    except NotAPerformance as error:
        raise Unfit(str(error)) from None


def _digest(file: IO[bytes], task: str, ended: threading.Event) -> tuple[str, int]:
    """SHA-256 of the content and the ASCII task key, and the size; the file is at its beginning again."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        if ended.is_set():
            raise InterruptedError("the task was ended")
    digest.update(task.encode("ascii"))
    file.seek(0)
    return digest.hexdigest(), size
