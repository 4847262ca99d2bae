"""System calls that the standard library has no name for, by ctypes; nothing else of ours below.

Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import ctypes
import os
import platform

PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36
PR_CAPBSET_DROP = 24
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.restype = ctypes.c_int


def machine() -> str:
    """`x86_64`, `aarch64`, or whatever else this is."""
    name = platform.machine()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name.lower(), name)


def syscall(number: int, *arguments: object) -> int:
    """One raw system call. Integers travel as C longs. Raises OSError."""
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    answer: int = _libc.syscall(ctypes.c_long(number), *passed)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


def prctl(option: int, *arguments: int) -> int:
    """prctl(2). Raises OSError."""
    passed = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    answer: int = _libc.prctl(ctypes.c_int(option), *passed)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


def call(name: str, *arguments: object) -> int:
    """A function of the C library that returns -1 and sets errno (mount, unshare…). Raises OSError."""
    answer: int = getattr(_libc, name)(*arguments)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return answer


def become_subreaper() -> None:
    """Orphans below this process become its children instead of init's, so none gets away."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def no_new_privileges() -> None:
    """set-uid files and file capabilities give nothing from here on; for all descendants, for good."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def drop_bounding_set() -> None:
    """No program that is executed from here on can get a capability. An ordinary user may not, and need not."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break  # EINVAL: beyond the last one; EPERM: not ours to drop


def drop_capabilities() -> None:
    """All capabilities go, the bounding set first: root without them is an ordinary user (rule 39).

    An ordinary user may not touch the bounding set and has nothing to lose: no_new_privs keeps it so.
    """
    drop_bounding_set()
    try:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError:
        pass  # kernels before 4.3 have no ambient set
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    call("capset", ctypes.byref(header), ctypes.byref(data))
