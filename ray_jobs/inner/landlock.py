"""Landlock, whatever version of it the kernel has: which paths, ports, signals a process may use.

A domain can only be narrowed, by stacking another layer, and children inherit it. Rules reach down
whole subtrees: nothing can be read-only below a writable folder (rule 37).
Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

from ray_jobs.inner import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_VERSION_FLAG = 1
_RULE_PATH, _RULE_PORT = 1, 2

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_SYM = 1 << 12
REFER = 1 << 13  # ABI 2
TRUNCATE = 1 << 14  # ABI 3
IOCTL_DEV = 1 << 15  # ABI 5
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1  # ABI 4
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1 << 0, 1 << 1  # ABI 6

READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
WRITE = (
    RUN | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO
    | MAKE_SYM | REFER | TRUNCATE
)  # fmt: skip
_FOR_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}


class _RulesetAttributes(ctypes.Structure):
    _fields_ = [
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


class _NetPort(ctypes.Structure):
    _fields_ = [("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64)]


def abi() -> int:
    """The kernel's Landlock version, 0 when there is none."""
    try:
        return kernel.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def _handled(version: int) -> int:
    return _HANDLED[max(known for known in _HANDLED if known <= version)]


class Ruleset:
    """Rules being collected; `restrict` puts this process under them.

    `files=False` leaves the file system alone (a layer of scopes only), but for mounts, which no process
    under any rule for files may change; `ports=None` leaves TCP alone, an empty tuple refuses all of it.
    Paths that don't exist are passed over. Raises OSError.
    """

    def __init__(self, files: bool = True, ports: Iterable[int] | None = None) -> None:
        self.version = abi()
        if not self.version:
            raise OSError("this kernel has no Landlock")
        attributes = _RulesetAttributes()
        # every layer that does not grant REFER refuses moves between folders
        self._handled = _handled(self.version) if files else REFER
        attributes.handled_access_fs = self._handled
        self.limits_tcp = ports is not None and self.version >= 4
        if self.limits_tcp:
            attributes.handled_access_net = BIND_TCP | CONNECT_TCP
        self.scopes = self.version >= 6
        if self.scopes:
            attributes.scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS
        size = 24 if self.version >= 6 else 16 if self.version >= 4 else 8
        self._ruleset = kernel.syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
        if not files:
            self.allow(REFER, ("/",))
        if self.limits_tcp:
            for port in ports or ():
                self._allow_connect(port)

    def _allow_connect(self, port: int) -> None:
        rule = _NetPort(CONNECT_TCP, port)
        kernel.syscall(_ADD_RULE, self._ruleset, _RULE_PORT, ctypes.byref(rule), 0)

    def allow(self, access: int, paths: Iterable[str]) -> None:
        """Grant `access` on each path and, for folders, on all below it."""
        for path in paths:
            try:
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                granted = access & self._handled
                if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                    granted &= _FOR_FILES
                rule = _PathBeneath(granted, descriptor)
                kernel.syscall(_ADD_RULE, self._ruleset, _RULE_PATH, ctypes.byref(rule), 0)
            finally:
                os.close(descriptor)

    def restrict(self) -> None:
        """Put this process, and all that it starts from now on, under the rules. no_new_privs first."""
        try:
            kernel.syscall(_RESTRICT_SELF, self._ruleset, 0)
        finally:
            os.close(self._ruleset)
