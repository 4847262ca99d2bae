"""Run a command as an ordinary user although we are root: PostgreSQL refuses to run as uid 0 (rule 25).

First choice is a user namespace in which our own uid has another number: files stay where they are and stay
ours. Where the kernel refuses namespaces, the command runs as `nobody`.

As a script (standard library only, isolated interpreter): `python -I unprivileged.py namespace|nobody
COMMAND…` changes this process and becomes COMMAND, so that the pid stays that of the caller's child.
"""

import ctypes
import os
import pwd
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Literal

Way = Literal["direct", "namespace", "nobody"]
CLONE_NEWUSER = 0x10000000
OVERFLOW_UID = 65534


@cache
def way() -> Way:
    """How commands run here: `direct` as an ordinary user, else what the kernel allows to root."""
    if os.geteuid() != 0:
        return "direct"
    trial = subprocess.run(
        command("namespace", ["/bin/sh", "-c", 'test "$(id -u)" != 0']),
        capture_output=True,
        timeout=30,
        check=False,
    )
    return "namespace" if trial.returncode == 0 else "nobody"


def command(how: Way, words: list[str]) -> list[str]:
    """`words`, put behind this script where the user has to change."""
    if how == "direct":
        return words
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), how, *words]


def nobody() -> tuple[int, int]:
    """uid and gid of the account without rights."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return OVERFLOW_UID, OVERFLOW_UID
    return entry.pw_uid, entry.pw_gid


def _namespace_uid() -> int:
    """A number that has a name (initdb looks it up) and is neither root nor the kernel's overflow uid."""
    known = sorted(entry.pw_uid for entry in pwd.getpwall())
    return next((uid for uid in known if uid not in (0, OVERFLOW_UID)), OVERFLOW_UID)


def _enter_namespace() -> None:
    inside, uid, gid = _namespace_uid(), os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inside} {gid} 1")


def _become_nobody() -> None:
    uid, gid = nobody()
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main() -> None:
    how, *words = sys.argv[1:]
    if how == "namespace":
        _enter_namespace()
    elif how == "nobody":
        _become_nobody()
    os.execv(words[0], words)  # noqa: S606  a command of ours, no shell


if __name__ == "__main__":
    main()
