"""A user of its own for confined code, where we are root: nothing on the machine belongs to it.

Files stay ours on the disk. The mounts that show them are id-mapped: what is root's outside is this user's
there, and what it makes is root's outside, so nothing has to be given away and taken back.
Needs Linux 5.12, root with all capabilities, and file systems that know id-mapped mounts.
Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator

from ray_jobs.inner import kernel

FIRST, COUNT = 1_900_000_000, 100_000_000  # ids that no distribution gives to anybody
USER = 1001  # as functions see themselves (compute.md 12.2); 0 could not be mapped again without capabilities
NOBODY = 65534  # as an id shows itself that a user namespace does not know
_NEW_USER = 0x10000000
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_CLONE, _CLOSE_ON_EXEC, _RECURSIVE, _EMPTY_PATH = 1, 0o2000000, 0x8000, 0x1000
_FROM_EMPTY_PATH, _HERE = 4, -100
_ID_MAPPED = 0x00100000
_DUMPABLE = 4


class Attributes(ctypes.Structure):
    """struct mount_attr."""

    _fields_ = [
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    ]


def user_of(name: str) -> int:
    """The id for whatever this names: the same name, the same id. No secret."""
    value = 0
    for byte in name.encode():
        value = (value * 0x01000193 ^ byte) & 0xFFFFFFFFFFFFFFFF
    return FIRST + value % COUNT


def is_somebody_else() -> bool:
    """Whether `become` made this process, or the one that it was forked from, another user."""
    try:
        with open("/proc/self/uid_map") as file:
            return FIRST <= int(file.read().split()[1]) < FIRST + COUNT
    except (OSError, ValueError, IndexError):
        return False


def see_as(user: int, group: int) -> None:
    """Map `user`, who we are, to USER in the user namespace that we have just made."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{USER} {user} 1"),
        ("gid_map", f"{USER} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def id_map(user: int) -> int:
    """A user namespace, as a descriptor, in which root's files are `user`'s. Raises OSError."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            kernel.call("unshare", ctypes.c_int(_NEW_USER))
            os.write(writer, b"x")
            signal.pause()  # until we are killed
        finally:
            os._exit(1)
    os.close(writer)
    try:
        if os.read(reader, 1) != b"x":
            raise OSError("no user namespace")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{name}", "w") as file:
                file.write(f"0 {user} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def show(source: str, target: str, attributes: int, mapping: int) -> None:
    """Bind `source` to `target` with these attributes, id-mapped by `mapping`. Raises OSError."""
    tree = kernel.syscall(
        _OPEN_TREE,
        _HERE,
        ctypes.c_char_p(os.fsencode(source)),
        _CLONE | _CLOSE_ON_EXEC | _RECURSIVE,
    )
    try:
        wanted = Attributes(attributes | _ID_MAPPED, 0, 0, mapping)
        nothing = ctypes.c_char_p(b"")
        size = ctypes.sizeof(wanted)
        kernel.syscall(
            _MOUNT_SETATTR, tree, nothing, _EMPTY_PATH | _RECURSIVE, ctypes.byref(wanted), size
        )
        there = ctypes.c_char_p(os.fsencode(target))
        kernel.syscall(_MOVE_MOUNT, tree, nothing, _HERE, there, _FROM_EMPTY_PATH)
    finally:
        os.close(tree)


@contextlib.contextmanager
def making(user: int) -> Iterator[None]:
    """What is made in here belongs to `user`: on an id-mapped mount root is nobody. 0: nothing changes."""
    if user:
        kernel.call("setfsgid", ctypes.c_uint(user))
        kernel.call("setfsuid", ctypes.c_uint(user))
    try:
        yield
    finally:
        if user:
            kernel.call("setfsuid", ctypes.c_uint(0))
            kernel.call("setfsgid", ctypes.c_uint(0))


def become(user: int) -> None:
    """From root to `user`, for good, and into a user namespace in which it is USER. Raises OSError."""
    kernel.drop_bounding_set()
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    kernel.prctl(_DUMPABLE, 1)  # else /proc/self stays root's, and nothing can be mapped
    kernel.call("unshare", ctypes.c_int(_NEW_USER))
    see_as(user, user)
