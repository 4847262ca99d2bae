"""Named places at which a test kills a process: before and after every commit, upload and registration.

Off unless the environment names a folder of ours, closed to others, in which the file PERMISSION lies: nobody
makes all three by accident. Then a point that is reached is noted in `seen/`, with the command line of each
process that reached it, and the process that finds its name in `armed/` moves it to `hit/`, writes its command
line there and dies by SIGKILL, as in a power cut. The houses know nothing of each other, so each of the three
has this module; a test keeps them equal.
"""

import os
import re
import signal
import stat
import sys
from pathlib import Path

VARIABLE = "SUBSTRA_RAY_CRASH_POINTS"
PERMISSION = "the-processes-of-this-network-may-be-killed"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_PASSED_OVER = ("contextlib.py", "database.py")


class CrashPoints:
    """The folder of a network whose processes may be killed; None: nothing ever happens."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._noted: set[str] = set()

    @classmethod
    def of_environment(cls) -> "CrashPoints":
        folder = Path(os.environ.get(VARIABLE) or os.devnull)
        return cls(folder if _may_kill(folder) else None)

    def reach(self, kind: str, what: object, moment: str) -> None:
        """`what` is a name, or a message of the ledger's wire, which is named by its type and action."""
        if self._folder is not None:
            self._reach(f"{kind}.{_name(what)}.{moment}")

    def reach_commit(self, moment: str) -> None:
        """A transaction's commit, named by the function that opened it."""
        if self._folder is not None:
            self._reach(f"commit.{_caller()}.{moment}")

    def _reach(self, name: str) -> None:
        assert self._folder is not None
        name = _NOT_IN_NAMES.sub("-", name)
        seen, hit = self._folder / "seen" / name, self._folder / "hit" / name
        if name in self._noted:
            seen.touch()  # its time of change tells when it was reached last
        else:
            self._noted.add(name)
            with seen.open("a", encoding="utf-8") as file:
                file.write(f"{_process()}\n")
        try:
            (self._folder / "armed" / name).rename(hit)
        except FileNotFoundError:
            return
        hit.write_text(_process(), "utf-8")
        os.kill(os.getpid(), signal.SIGKILL)


def _may_kill(folder: Path) -> bool:
    try:
        found = folder.lstat()
        ours = found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o700
        return stat.S_ISDIR(found.st_mode) and ours and (folder / PERMISSION).is_file()
    except OSError:
        return False


def _process() -> str:
    """The first words of our command line, or the title that replaced it, in one line."""
    try:
        words = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "unknown"
    return b" ".join(words)[:300].decode("utf-8", "replace").replace("\n", " ").strip()


def _name(what: object) -> str:
    if isinstance(what, str):
        return what
    action = getattr(what, "action", None)
    name = type(what).__name__
    return name if action is None else f"{name}-{action}"


def _caller() -> str:
    """The first function on the stack that is neither ours nor the transaction's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if file != __file__ and not file.endswith(_PASSED_OVER):
            return frame.f_code.co_qualname
        frame = frame.f_back
    return "unknown"


crash_points = CrashPoints.of_environment()
