"""Runs a command and lets nothing of it live on: `python -I reaper.py command argument…`.

Standard library only; a process of its own, since a daemon that a RUN line leaves behind can only be found by
the one whose child it becomes. When standard input closes (the builder died, or wants an end), all is killed.
The exit code is the command's, 128 + signal if one ended it.
"""

import ctypes
import os
import select
import signal
import sys
from pathlib import Path

_SUBREAPER = 36


def _children() -> list[int]:
    own = os.getpid()
    found: list[int] = []
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            try:
                text = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            if int(text.rpartition(")")[2].split()[1]) == own:
                found.append(int(entry))
    return found


def _end_all() -> None:
    """Kill every descendant: orphans become our children, so killing children until none is left is enough."""
    while True:
        for child in _children():
            try:
                os.kill(child, signal.SIGKILL)
            except OSError:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _start(command: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
    os._exit(127)


def _wait(child: int, wake: int) -> int | None:
    """The command's status, or None when standard input closed first."""
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            while True:
                try:
                    ended, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    return 0
                if ended == child:
                    return status
                if ended == 0:
                    break
        if 0 in ready and not os.read(0, 1):
            return None


def main(command: list[str]) -> int:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    wake, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = _start(command)
    status = _wait(child, wake)
    signal.set_wakeup_fd(-1)
    _end_all()
    if status is None:
        return 137
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
