"""The mount wall: a file tree of its own in which nothing but the policy's paths exists.

Needs user namespaces. Where they can be had, sockets, modes and times of files outside need no further
rule, `/tmp` and `/dev/shm` are private, and read-only is read-only for chmod too (rule 14).
Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from ray_jobs.inner import kernel, users

_NEW_MOUNTS, _NEW_IPC, _NEW_USER = 0x00020000, 0x08000000, 0x10000000
_NEW_PROCESSES, _NEW_NET = 0x20000000, 0x40000000
_BIND, _RECURSIVE, _PRIVATE = 1 << 12, 1 << 14, 1 << 18
_NOSUID, _NODEV = 2, 4
_DETACH = 2
_MOUNT_SETATTR = 442
_AT_RECURSIVE, _AT_FDCWD = 0x8000, -100
_ATTRIBUTE_READ_ONLY, _ATTRIBUTE_NOSUID, _ATTRIBUTE_NODEV = 1, 2, 4
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SHARED_MEMORY = 1 << 30  # bytes of /dev/shm, unless a policy says otherwise
_DEVICES = ("null", "zero", "full", "random", "urandom")


_PARENT_DEATH_SIGNAL = 1


class Owner(NamedTuple):
    """Who the function is: another `user` than we, to whom the paths in `own` belong by `mapping`."""

    user: int
    own: Collection[str]
    mapping: int


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    kernel.call(
        "mount",
        os.fsencode(source),
        os.fsencode(target),
        None if kind is None else kind.encode(),
        ctypes.c_ulong(flags),
        None if data is None else data.encode(),
    )


def _seal(target: str, attributes: int) -> None:
    wanted = users.Attributes(attributes, 0, 0, 0)
    path = ctypes.c_char_p(os.fsencode(target))
    size = ctypes.sizeof(wanted)
    kernel.syscall(_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, ctypes.byref(wanted), size)


def _pivot(new_root: str, old_root: str) -> None:
    number = _PIVOT_ROOT[kernel.machine()]
    kernel.syscall(number, ctypes.c_char_p(new_root.encode()), ctypes.c_char_p(old_root.encode()))


def _new_namespaces(more: int, as_root: bool = False) -> None:
    user, group = os.getuid(), os.getgid()
    flags = _NEW_MOUNTS | _NEW_IPC | more | (0 if as_root else _NEW_USER)
    kernel.call("unshare", ctypes.c_int(flags))
    if not as_root:
        users.see_as(user, group)
    _mount("none", "/", None, _RECURSIVE | _PRIVATE)


def _maker(owner: Owner | None, path: str) -> int:
    """Who makes a mount point: below /tmp the function's user where it has one, whose folder that is."""
    return owner.user if owner and path.startswith("/tmp/") else 0  # noqa: S108


def _place(real: str, is_folder: bool, owner: Owner | None) -> str:
    """The mount point of `real` in the tree being built; made unless a parent's mount shows it."""
    target = "/new" + real
    if not os.path.lexists(target):
        with users.making(_maker(owner, real)):
            if is_folder:
                os.makedirs(target, exist_ok=True)
            else:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    return target


def _show(path: str, real: str, writable: bool, owner: Owner | None = None) -> None:
    mode = os.stat("/old" + real).st_mode
    target = _place(real, stat.S_ISDIR(mode), owner)
    if os.path.islink(target):
        return
    if owner and path in owner.own:
        kept = _ATTRIBUTE_NOSUID | _ATTRIBUTE_NODEV | (0 if writable else _ATTRIBUTE_READ_ONLY)
        users.show("/old" + real, target, kept, owner.mapping)
        _link(path, real, owner)
        return
    _mount("/old" + real, target, None, _BIND | _RECURSIVE)
    if not stat.S_ISCHR(mode) and not real.startswith("/proc"):
        read_only = 0 if writable else _ATTRIBUTE_READ_ONLY
        _seal(target, read_only | _ATTRIBUTE_NOSUID | _ATTRIBUTE_NODEV)
    _link(path, real, owner)


def _link(path: str, real: str, owner: Owner | None) -> None:
    link = "/new" + path
    if path != real and not os.path.lexists(link):
        with users.making(_maker(owner, path)):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(real, link)


def _memory(shared: int) -> str:
    return f"mode=1777,size={shared}"


def _devices(shared: int) -> None:
    os.makedirs("/new/dev/shm", exist_ok=True)
    for name in _DEVICES:
        _show(f"/dev/{name}", f"/dev/{name}", writable=True)
    _mount("tmpfs", "/new/dev/shm", "tmpfs", _NOSUID | _NODEV, _memory(shared))
    os.symlink("/proc/self/fd", "/new/dev/fd")


def _own_processes() -> bool:
    """/proc of the new process namespace; where a container forbids it, the old one is shown later."""
    os.mkdir("/new/proc")
    try:
        _mount("proc", "/new/proc", "proc", _NOSUID | _NODEV)
    except OSError:
        os.rmdir("/new/proc")
        return False
    return True


def _temporary(tmp: str | None, owner: Owner | None) -> None:
    os.makedirs("/new/tmp", exist_ok=True)
    if tmp is None:
        _mount("tmpfs", "/new/tmp", "tmpfs", _NOSUID | _NODEV, "mode=1777")
    elif owner:
        kept = _ATTRIBUTE_NOSUID | _ATTRIBUTE_NODEV
        users.show("/old" + tmp, "/new/tmp", kept, owner.mapping)
    else:
        _mount("/old" + tmp, "/new/tmp", None, _BIND)
        _seal("/new/tmp", _ATTRIBUTE_NOSUID | _ATTRIBUTE_NODEV)


def enter(
    read_only: Iterable[str],
    writable: Sequence[str],
    network: bool,
    tmp: str | None = None,
    processes: str = "",
    shared: int = SHARED_MEMORY,
    user: int = 0,
    own: Collection[str] = (),
) -> None:
    """Move this single-threaded process into a file tree of these paths only, at their own names.

    `/tmp` is the folder `tmp`, or memory; `/dev/shm` holds `shared` bytes. `network=False` adds
    an empty network namespace; `processes` a process namespace, in which a child goes on as process 1:
    with "named" this process writes the child's id on standard output and ends, with "waited for" it ends
    as the child does, and takes it along when it is killed. `user`: for root, the id of somebody else to be
    from now on, to whom the paths in `own` (and `tmp`) belong. Leaves capabilities over the new namespaces:
    drop them.
    After an error the process is in between and must end; `possible` tries it out. Raises OSError.
    """
    shown: dict[str, tuple[str, bool]] = {}
    for path, is_writable in [*((p, False) for p in read_only), *((p, True) for p in writable)]:
        if os.path.exists(path):
            shown[path] = (os.path.realpath(path), is_writable)
    tmp = tmp and os.path.realpath(tmp)
    here = os.getcwd()
    owner = Owner(user, own, users.id_map(user)) if user else None
    _new_namespaces((0 if network else _NEW_NET) | (_NEW_PROCESSES if processes else 0), bool(user))
    if processes:
        _go_on_as_first(processes)
    _mount("tmpfs", "/tmp", "tmpfs", _NOSUID | _NODEV, "mode=0755")  # noqa: S108
    os.mkdir("/tmp/old")  # noqa: S108
    os.mkdir("/tmp/new")  # noqa: S108
    _pivot("/tmp", "/tmp/old")  # noqa: S108
    _mount("tmpfs", "/new", "tmpfs", _NOSUID | _NODEV, "mode=0755")
    _temporary(tmp, owner)
    _devices(shared)
    if processes and _own_processes():
        shown = {path: how for path, how in shown.items() if not path.startswith("/proc")}
    for path, (real, is_writable) in sorted(shown.items(), key=lambda item: len(item[1][0])):
        if real not in ("/tmp", "/dev/shm") and not os.path.ismount("/new" + real):  # noqa: S108
            _show(path, real, is_writable, owner)
    os.chdir("/new")
    _pivot(".", ".")
    kernel.call("umount2", b".", ctypes.c_int(_DETACH))
    os.chdir(here if os.path.isdir(here) else "/")
    if owner:
        os.close(owner.mapping)
        users.become(owner.user)
    if processes == "waited for":
        kernel.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _go_on_as_first(processes: str) -> None:
    """Return in a child that is process 1 of the new process namespace."""
    child = os.fork()
    if child == 0:
        os.setsid()  # a group that has a name in here
        return
    if processes == "named":
        os.write(1, f"{child}\n".encode())
        os._exit(0)
    os.closerange(3, 1 << 16)  # what our child holds must be seen to end with it
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def own_temporary(tmp: str, visible: Iterable[str], shared: int = SHARED_MEMORY) -> None:
    """Behind a zygote's mount wall: one task's own /dev/shm, and the folder `tmp` as its own /tmp.

    What is `visible` below either stays so. Leaves capabilities over the new namespace: drop them.
    Raises OSError where there is no such wall.
    """
    _new_namespaces(0)
    kept = []
    for path in visible:
        if path.startswith(("/tmp/", "/dev/shm/")) and os.path.exists(path):  # noqa: S108
            kept.append((path, os.open(path, os.O_PATH | os.O_CLOEXEC)))
    _mount("tmpfs", "/dev/shm", "tmpfs", _NOSUID | _NODEV, _memory(shared))  # noqa: S108
    _mount(tmp, "/tmp", None, _BIND)  # noqa: S108
    for path, descriptor in sorted(kept):
        if not os.path.lexists(path):
            os.makedirs(path)
        _mount(f"/proc/self/fd/{descriptor}", path, None, _BIND | _RECURSIVE)
        os.close(descriptor)


def possible(
    read_only: Sequence[str],
    writable: Sequence[str],
    network: bool,
    tmp: str | None = None,
    own_processes: bool = False,
    user: int = 0,
    own: Collection[str] = (),
) -> bool:
    """Whether `enter` would work, tried out in a child; with `own_processes` also whether /proc shows them."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            processes = "waited for" if own_processes else ""
            enter(read_only, writable, network, tmp, processes, user=user, own=own)
            if not own_processes or os.readlink("/proc/self") == str(os.getpid()) == "1":
                code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
