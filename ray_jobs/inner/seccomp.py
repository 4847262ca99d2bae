"""The filter of system calls: what no path rule can refuse.

Refused with EPERM: network sockets, other processes' memory, limits and priority, namespaces, mounts, io_uring
(it would go round this filter), the kernel's own doors, System V and POSIX message objects (they outlive a
task). Who has the internet has TCP and UDP only, and no other way to a TCP port than connect(2): Landlock
watches that one, and neither Multipath TCP nor Fast Open.
Changes of mode, owner, times and attributes answer 0 without effect when `metadata` is "ignored":
Landlock does not see them and a filter cannot tell one path from another (rule 14). So do the choice of CPUs
where a task has its own, and that of another process's CPUs or priority, which a program may have meant well.
Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import functools
from typing import NamedTuple

from ray_jobs.inner import kernel

_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_SET_FILTER, _ALL_THREADS = 1, 1
_NUMBER, _ARCHITECTURE = (
    0,
    4,
)  # offsets in struct seccomp_data; arguments follow at 16, 8 bytes each
_NEW_NAMESPACES = 0x7E020000
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_O_TRUNC, _O_ACCMODE = 0o1000, 0o3
_X32 = 0x40000000
# ioctl families that change a file through a read-only descriptor ('f', 'X', Btrfs), and typing into terminals
_IOCTL_FAMILIES = (0x66, 0x58, 0x94)
_IOCTL_TERMINAL = (0x5412, 0x541C)
_F_SETLEASE = 1024
_STREAM, _DATAGRAM, _SOCKET_TYPES = 1, 2, 0xF
_PROTOCOLS = (0, 6, 17)  # the usual one of the type, TCP, UDP
_MSG_FASTOPEN = 0x20000000


class Calls(NamedTuple):
    """The numbers of one architecture."""

    architecture: int
    seccomp: int
    socket: int
    socketpair: int
    clone: int
    clone3: int
    ioctl: int
    fcntl: int
    open: int | None
    openat: int
    openat2: int
    truncate: int
    affinity: int  # sched_setaffinity
    own: tuple[int, ...]  # whose first argument is a process: only oneself, which is 0
    own_kind: tuple[
        int, ...
    ]  # whose first argument is a kind and must be 0, and the second a process
    sending: tuple[tuple[int, int], ...]  # calls and the index of their flags
    refused: tuple[int, ...]
    metadata: tuple[int, ...]


# process_madvise pidfd_getfd io_uring_* move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr
# quotactl_fd open_tree_attr
_REFUSED_EVERYWHERE = (440, 438, 425, 426, 427, 429, 428, 430, 431, 432, 433, 442, 443, 467)
_METADATA_EVERYWHERE = (452, 463, 466, 469)  # fchmodat2 setxattrat removexattrat file_setattr

CALLS = {
    "x86_64": Calls(
        architecture=0xC000003E,
        seccomp=317,
        socket=41,
        socketpair=53,
        clone=56,
        clone3=435,
        ioctl=16,
        fcntl=72,
        open=2,
        openat=257,
        openat2=437,
        truncate=76,
        affinity=203,
        own=(302, 142, 144, 314),  # prlimit64 sched_setparam sched_setscheduler sched_setattr
        own_kind=(141,),  # setpriority
        sending=((44, 3), (46, 2), (307, 3)),  # sendto sendmsg sendmmsg
        refused=(
            251,  # ioprio_set
            101, 310, 311, 312,  # ptrace process_vm_readv process_vm_writev kcmp
            272, 308, 165, 166, 155, 161,  # unshare setns mount umount2 pivot_root chroot
            321, 250, 248, 249, 323, 298,  # bpf keyctl add_key request_key userfaultfd perf_event_open
            246, 320, 175, 313, 176,  # kexec_load kexec_file_load init_module finit_module delete_module
            303, 304, 167, 168, 169, 163, 103,  # file handles, swapon swapoff reboot acct syslog
            164, 227, 305, 159, 179, 172, 173,  # clocks, quotactl, iopl ioperm
            300, 301, 254, 170, 171, 153, 154,  # fanotify, inotify_add_watch, names, vhangup, modify_ldt
            240, 68, 64, 29, 279, 256,  # mq_open msgget semget shmget move_pages migrate_pages
            *_REFUSED_EVERYWHERE,
        ),
        metadata=(
            90, 91, 268, 92, 93, 94, 260,  # chmod fchmod fchmodat chown fchown lchown fchownat
            132, 235, 261, 280,  # utime utimes futimesat utimensat
            188, 189, 190, 197, 198, 199,  # setxattr and removexattr families
            *_METADATA_EVERYWHERE,
        ),
    ),
    "aarch64": Calls(
        architecture=0xC00000B7,
        seccomp=277,
        socket=198,
        socketpair=199,
        clone=220,
        clone3=435,
        ioctl=29,
        fcntl=25,
        open=None,
        openat=56,
        openat2=437,
        truncate=45,
        affinity=122,
        own=(261, 118, 119, 274),
        own_kind=(140,),
        sending=((206, 3), (211, 2), (269, 3)),
        refused=(
            30,
            117, 270, 271, 272,
            97, 268, 40, 39, 41, 51,
            280, 219, 217, 218, 282, 241,
            104, 294, 105, 273, 106,
            264, 265, 224, 225, 142, 89, 116,
            170, 112, 266, 171, 60,
            262, 263, 27, 161, 162, 58,
            180, 186, 190, 194, 239, 238,
            *_REFUSED_EVERYWHERE,
        ),
        metadata=(52, 53, 54, 55, 88, 5, 6, 7, 14, 15, 16, *_METADATA_EVERYWHERE),
    ),
}  # fmt: skip


class _Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    ]


class Program(ctypes.Structure):
    """A filter as the kernel takes it."""

    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction))]


Code = list[tuple[int, int, int, int]]


def _argument(index: int) -> int:
    return 16 + 8 * index  # the low half: both architectures are little-endian


def _refuse(code: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ERRNO | code)


def _when(number: int, body: Code) -> Code:
    """Run `body`, which must end by returning, for the system call `number` only."""
    return [(_JUMP_EQUAL, 0, len(body), number), *body]


def _only(index: int, allowed: tuple[int, ...], otherwise: int = errno.EPERM) -> Code:
    """Allow the call if its argument is one of these."""
    code: Code = [(_LOAD, 0, 0, _argument(index))]
    for value in allowed:
        code += [(_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*code, _refuse(otherwise)]


def _must_be(index: int, value: int) -> Code:
    """Refuse the call if its argument is another one; what follows decides otherwise."""
    return [
        (_LOAD, 0, 0, _argument(index)),
        (_JUMP_EQUAL, 1, 0, value),
        _refuse(errno.EPERM),
    ]


def _sockets(families: tuple[int, ...]) -> Code:
    """Local ones as they are; of the internet's, streams and datagrams of the two known protocols."""
    code: Code = [(_LOAD, 0, 0, _argument(0))]
    internet = any(family in families for family in (_AF_INET, _AF_INET6))
    if _AF_UNIX in families:
        code += [(_JUMP_EQUAL, 0, 1, _AF_UNIX), (_RETURN, 0, 0, _ALLOW)]
    if not internet:
        return [*code, _refuse(errno.EPERM)]
    code += [(_JUMP_EQUAL, 2, 0, _AF_INET), (_JUMP_EQUAL, 1, 0, _AF_INET6), _refuse(errno.EPERM)]
    code += [(_LOAD, 0, 0, _argument(1)), (_AND, 0, 0, _SOCKET_TYPES)]
    code += [(_JUMP_EQUAL, 2, 0, _STREAM), (_JUMP_EQUAL, 1, 0, _DATAGRAM), _refuse(errno.EPERM)]
    return [*code, *_only(2, _PROTOCOLS)]


def _not_opening_fast(flags: int) -> Code:
    """With MSG_FASTOPEN a message to an address connects, and nobody asks Landlock."""
    return [
        (_LOAD, 0, 0, _argument(flags)),
        (_AND, 0, 0, _MSG_FASTOPEN),
        (_JUMP_EQUAL, 1, 0, 0),
        _refuse(errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _not_truncating_read(flags: int) -> Code:
    """open(O_RDONLY | O_TRUNC) empties a file without asking for write access: Landlock below ABI 3."""
    return [
        (_LOAD, 0, 0, _argument(flags)),
        (_AND, 0, 0, _O_TRUNC | _O_ACCMODE),
        (_JUMP_EQUAL, 0, 1, _O_TRUNC),
        _refuse(errno.EACCES),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _careful_ioctl() -> Code:
    code: Code = [(_LOAD, 0, 0, _argument(1))]
    for request in _IOCTL_TERMINAL:
        code += [(_JUMP_EQUAL, 0, 1, request), _refuse(errno.EPERM)]
    code.append((_AND, 0, 0, 0xFF00))
    for family in _IOCTL_FAMILIES:
        code += [(_JUMP_EQUAL, 0, 1, family << 8), _refuse(errno.ENOTTY)]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def build(
    calls: Calls,
    sockets: tuple[int, ...],
    metadata: str,
    namespaces: bool,
    truncation: bool,
    fixed_cpus: bool,
) -> Code:
    """The program: `sockets` are the allowed families of socket(2), `truncation` whether Landlock sees it.

    `namespaces` leaves unshare and mount open, for a process that will still shut in its children.
    """
    code: Code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, calls.architecture),
        _refuse(errno.ENOSYS),  # another architecture's numbering on the same machine
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_GREATER, 0, 1, _X32),
        _refuse(errno.ENOSYS),
    ]
    code += _when(calls.socket, _sockets(sockets))
    code += _when(calls.socketpair, _only(0, (_AF_UNIX,)))
    for number, flags_at in calls.sending:
        code += _when(number, _not_opening_fast(flags_at))
    for number in calls.own:
        code += _when(number, _only(0, (0,)))
    for number in calls.own_kind:
        code += _when(number, [*_must_be(0, 0), *_only(1, (0,), otherwise=0)])
    code += _when(calls.ioctl, _careful_ioctl())
    lease: Code = [
        (_LOAD, 0, 0, _argument(1)),
        (_JUMP_EQUAL, 0, 1, _F_SETLEASE),
        _refuse(errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code += _when(calls.fcntl, lease)
    refused = set(calls.refused)
    if not namespaces:
        flags: Code = [
            (_LOAD, 0, 0, _argument(0)),
            (_JUMP_ANY, 0, 1, _NEW_NAMESPACES),
            _refuse(errno.EPERM),
            (_RETURN, 0, 0, _ALLOW),
        ]
        code += _when(calls.clone, flags)
    else:
        refused -= {272, 165} if calls is CALLS["x86_64"] else {97, 40}
    code += _when(calls.clone3, [_refuse(errno.ENOSYS)])  # the C library falls back to clone
    if not truncation:
        if calls.open is not None:
            code += _when(calls.open, _not_truncating_read(1))
        code += _when(calls.openat, _not_truncating_read(2))
        code += _when(calls.openat2, [_refuse(errno.ENOSYS)])
        code += _when(calls.truncate, [_refuse(errno.EPERM)])
    for number in sorted(refused):
        code += _when(number, [_refuse(errno.EPERM)])
    if metadata == "ignored":
        for number in calls.metadata:
            code += _when(number, [_refuse(0)])  # "error" 0: the call answers 0 and does nothing
    if fixed_cpus:
        code += _when(calls.affinity, [_refuse(0)])
    else:
        code += _when(calls.affinity, _only(0, (0,), otherwise=0))
    return [*code, (_RETURN, 0, 0, _ALLOW)]


@functools.lru_cache(maxsize=8)
def program(
    calls: Calls,
    sockets: tuple[int, ...],
    metadata: str,
    namespaces: bool,
    truncation: bool,
    fixed_cpus: bool,
) -> Program:
    """What `build` says, as the kernel takes it. Kept: a process that was forked finds it made."""
    code = build(calls, sockets, metadata, namespaces, truncation, fixed_cpus)
    array = (_Instruction * len(code))(*[_Instruction(*line) for line in code])
    return Program(len(code), array)


def install(filter_program: Program, calls: Calls) -> None:
    """Put all threads of this process under the program, for good. no_new_privs first. Raises OSError."""
    kernel.syscall(calls.seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(filter_program))


def families(network: str, unix: bool) -> tuple[int, ...]:
    """The socket families that `network` ("none" or "internet") needs; `unix`: local sockets too."""
    allowed = (_AF_INET, _AF_INET6) if network == "internet" else ()
    return (*allowed, _AF_UNIX) if unix else allowed
