"""Start one function without a zygote: `python cold.py DESCRIPTOR`, the connection to the runner.

Runs under the runner's own interpreter, which is trusted; the function's process shuts itself in and executes
the command, whatever interpreter or program that is.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

if not __package__:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from ray_jobs.inner import supervision
from ray_jobs.inner.confine import enter_mounts, shut_in

if not __package__:
    del sys.path[0]


def main() -> None:
    job = supervision.fork_function(socket.socket(fileno=int(sys.argv[1])), enter_mounts)
    try:
        shut_in(job.policy, job.mounts)
        os.chdir(job.directory)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(
                number, signal.SIG_DFL
            )  # Python ignores them, and what it executes would too
        os.execvpe(job.argv[0], job.argv, job.environment)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{job.argv[0]}: {error.strerror}\n")
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


if __name__ == "__main__":
    main()
