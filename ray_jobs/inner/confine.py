"""Shut this process in for good, then let untrusted code run (rules 13, 14, 38, 39).

As a command: `python confine.py POLICY.json -- command argument…` (the file may be `-`: standard input is
not read then, the policy is the next argument's text); `python confine.py --walls` prints which walls this
machine has. As functions: `confine` in a process that stays, such as a child forked from a zygote.

A policy names what stays: `read`, `execute` (readable too), `write` (all three) are absolute paths;
`network` is "none" or "internet" with TCP `ports`; `limits` are `processes`, `memory_bytes`, `file_bytes`,
`core`. What any program needs (`SYSTEM_…`) is always added. Optional: `mounts: false` does without the mount
wall, `tmp`: the folder that lies over /tmp behind it, `shared_memory_bytes` of /dev/shm there, `environment`:
the command's variables, `cpus`: the only ones that it gets, `devices`: files of drivers that it may use,
`own_processes`: it sees no others where that can be had, `user`: whose name it is, so that where we are root
it gets an id of its own outside (users.py).
Start this script itself with variables of your own: LD_LIBRARY_PATH of an image would load its libraries
before the walls stand.
Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import dataclass, field
from typing import Any

if not __package__:  # started by file path: our parent folder is where `ray_jobs` is found
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from ray_jobs.inner import kernel, landlock, mounts, seccomp, users
from ray_jobs.inner.mounts import SHARED_MEMORY

if not __package__:
    del sys.path[0]

SYSTEM_EXECUTE = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_READ = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/timezone",
    "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/alternatives", "/etc/fonts",
    "/sys/devices/system/cpu", "/sys/devices/system/node",
    "/dev/urandom", "/dev/random",
)  # fmt: skip
PROCESS_READ = (
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime",
    "/proc/version", "/proc/filesystems", "/proc/sys/kernel", "/proc/sys/vm", "/proc/sys/fs",
)  # fmt: skip
SYSTEM_WRITE = ("/dev/null", "/dev/zero", "/dev/full")
INTERNET_READ = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf",
    "/etc/services", "/etc/protocols", "/etc/passwd", "/etc/group", "/etc/gitconfig",
)  # fmt: skip
DEVICE_READ = ("/proc/driver/nvidia", "/sys/bus/pci/devices", "/sys/devices")
PRIVATE_WRITE = ("/tmp", "/dev/shm")  # noqa: S108  only behind the mount wall, where they are our own
_LIMITS = {
    "processes": resource.RLIMIT_NPROC,
    "memory_bytes": resource.RLIMIT_DATA,
    "file_bytes": resource.RLIMIT_FSIZE,
    "core": resource.RLIMIT_CORE,
}


@dataclass(frozen=True)
class Policy:
    """What confined code keeps; see the module's text."""

    read: tuple[str, ...] = ()
    execute: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: str = "none"
    ports: tuple[int, ...] = ()
    limits: dict[str, int] = field(default_factory=dict)
    mounts: bool = True
    tmp: str | None = None
    environment: dict[str, str] | None = None  # of the command; None: inherited
    nested: bool = False  # children will have mounts and a Landlock layer of their own (zygotes)
    processes: bool = (
        False  # all of /proc instead of our own process (a zygote's children have other ids)
    )
    shared_memory_bytes: int = SHARED_MEMORY
    cpus: tuple[int, ...] = ()  # empty: all
    devices: tuple[str, ...] = ()
    own_processes: bool = False
    user: str = ""

    @classmethod
    def parse(cls, value: Any) -> Policy:
        """From JSON. Raises ValueError for anything but absolute paths and known words."""
        if not isinstance(value, dict):
            raise ValueError("a policy is an object")
        paths = {
            name: _paths(name, value.get(name, []))
            for name in ("read", "execute", "write", "devices")
        }
        network = value.get("network", "none")
        if network not in ("none", "internet"):
            raise ValueError("network is none or internet")
        limits = {name: int(limit) for name, limit in dict(value.get("limits") or {}).items()}
        if set(limits) - set(_LIMITS):
            raise ValueError(f"unknown limits: {sorted(set(limits) - set(_LIMITS))}")
        ports = tuple(int(port) for port in value.get("ports") or ())
        tmp = value.get("tmp")
        if tmp is not None:
            (tmp,) = _paths("tmp", [tmp])
        environment = value.get("environment")
        return cls(
            **paths,
            network=network,
            ports=ports,
            limits=limits,
            mounts=bool(value.get("mounts", True)),
            tmp=tmp,
            environment=None if environment is None else dict(environment),
            nested=bool(value.get("nested", False)),
            processes=bool(value.get("processes", False)),
            shared_memory_bytes=int(value.get("shared_memory_bytes", SHARED_MEMORY)),
            cpus=tuple(int(number) for number in value.get("cpus") or ()),
            own_processes=bool(value.get("own_processes", False)),
            user=str(value.get("user") or ""),
        )

    @property
    def readable(self) -> tuple[str, ...]:
        internet = INTERNET_READ if self.network == "internet" else ()
        processes = ("/proc",) if self.processes else PROCESS_READ
        drivers = DEVICE_READ if self.devices else ()
        return (*self.read, *SYSTEM_READ, *processes, *internet, *drivers)

    @property
    def executable(self) -> tuple[str, ...]:
        return (*self.execute, *SYSTEM_EXECUTE)


def _paths(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(p, str) and p[:1] == "/" for p in value):
        raise ValueError(f"{name} is a list of absolute paths")
    return tuple(value)


def limit(limits: dict[str, int]) -> None:
    """Set the resource limits, hard ones too; core files are off unless asked for."""
    for name, value in {"core": 0, **limits}.items():
        _soft, hard = resource.getrlimit(_LIMITS[name])
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(_LIMITS[name], (ceiling, ceiling))


def restrict_files(policy: Policy, private: bool = False) -> dict[str, Any]:
    """The Landlock layer of a policy; {} where the kernel has none. no_new_privs first.

    `private`: /tmp and /dev/shm are our own and stay writable.
    """
    if not landlock.abi():
        return {}
    ports = policy.ports if policy.network == "internet" else ()
    rules = landlock.Ruleset(ports=ports)
    rules.allow(landlock.READ, policy.readable)
    rules.allow(landlock.RUN, policy.executable)
    rules.allow(landlock.WRITE, policy.write)
    rules.allow(landlock.WRITE, PRIVATE_WRITE if private else ())
    rules.allow(landlock.READ_FILE | landlock.WRITE_FILE, SYSTEM_WRITE)
    rules.allow(landlock.READ_FILE | landlock.WRITE_FILE | landlock.IOCTL_DEV, policy.devices)
    rules.restrict()
    return {"landlock": rules.version, "tcp_ports": rules.limits_tcp, "signals": rules.scopes}


def filter_calls(
    network: str, private: bool, truncation: bool, nested: bool = False, fixed_cpus: bool = False
) -> bool:
    """The seccomp filter; False where this machine has none for us. no_new_privs first.

    `private`: nothing outside is visible, so local sockets and changes of mode are harmless.
    `nested`: unshare and mount stay open for children. `fixed_cpus`: changing them has no effect.
    """
    calls = seccomp.CALLS.get(kernel.machine())
    if calls is None:
        return False
    program = _filter(calls, network, private, truncation, nested, fixed_cpus)
    try:
        seccomp.install(program, calls)
    except OSError:
        return False
    return True


def _filter(
    calls: seccomp.Calls,
    network: str,
    private: bool,
    truncation: bool,
    nested: bool,
    fixed_cpus: bool,
) -> seccomp.Program:
    sockets = seccomp.families(network, unix=private)
    metadata = "real" if private or network == "internet" else "ignored"
    return seccomp.program(calls, sockets, metadata, nested, truncation, fixed_cpus)


def prime() -> None:
    """Make the filters of functions without a network, for processes that will be forked from this one."""
    calls = seccomp.CALLS.get(kernel.machine())
    if calls is not None:
        truncation = landlock.abi() >= 3
        for private in (True, False):
            for fixed_cpus in (True, False):
                _filter(calls, "none", private, truncation, False, fixed_cpus)


def enter_mounts(policy: Policy) -> tuple[str, ...]:
    """Go behind the mount wall if this machine has one and the policy wants it.

    What was gained, of "mounts", "processes" (this process is the first of a namespace, and ends it), "user".
    """
    # of /proc, Landlock opens PROCESS_READ
    shown = (*policy.readable, *policy.executable, *policy.devices, "/proc")
    internet = policy.network == "internet"
    own = frozenset((*policy.read, *policy.execute, *policy.write))
    for user, alone in _ways(policy):
        if mounts.possible(shown, policy.write, internet, policy.tmp, alone, user, own):
            mounts.enter(
                shown,
                policy.write,
                internet,
                policy.tmp,
                processes="named" if policy.nested else "waited for" if alone else "",
                shared=policy.shared_memory_bytes,
                user=user,
                own=own,
            )
            return ("mounts", *(("processes",) if alone else ()), *(("user",) if user else ()))
    return ()


def _ways(policy: Policy) -> list[tuple[int, bool]]:
    """User and own processes, the best first."""
    if not policy.mounts:
        return []
    ids = (users.user_of(policy.user), 0) if policy.user and os.geteuid() == 0 else (0,)
    return [
        (user, alone)
        for user in ids
        for alone in ((True, False) if policy.own_processes else (False,))
    ]


def enter_nested_mounts(policy: Policy) -> tuple[str, ...]:
    """In a child of a confined zygote: /tmp and /dev/shm of its own, if the zygote has the mount wall."""
    if not policy.mounts or policy.tmp is None:
        return ()
    try:
        visible = (*policy.read, *policy.execute, *policy.write)
        mounts.own_temporary(policy.tmp, visible, policy.shared_memory_bytes)
    except OSError:
        return ()  # the zygote has a Landlock layer instead
    return ("mounts",)


def restrict_cpus(cpus: tuple[int, ...]) -> bool:
    """Whether this process now has these CPUs only; a set that the machine does not have is left."""
    if not cpus:
        return False
    try:
        os.sched_setaffinity(0, cpus)
    except OSError:
        return False  # some were switched off meanwhile: the kernel's own sharing is fair enough
    return True


def begin(policy: Policy, wall: bool) -> dict[str, Any]:
    """Of what `shut_in` does, all that needs no task: limits, privileges, files. Raises OSError."""
    limits = dict(policy.limits)
    if policy.devices:  # drivers map far more than they use: the watcher alone counts what is used
        limits.pop("memory_bytes", None)
    limit(limits)
    kernel.no_new_privileges()
    kernel.drop_capabilities()
    # children of a zygote must be able to mount, which a Landlock layer would forbid: behind the mount wall
    # nothing but the policy's paths exists, and no process, no abstract socket but its own
    return {} if policy.nested and wall else restrict_files(policy, private=wall)


def shut_in(policy: Policy, wall: bool, begun: dict[str, Any] | None = None) -> dict[str, Any]:
    """All walls but that of mounts, which `wall` says to stand already. Raises OSError.

    `begun`: the answer of `begin`, if this process called it before.
    """
    files = begin(policy, wall) if begun is None else begun
    fixed_cpus = restrict_cpus(policy.cpus)
    nested = policy.nested and wall
    # abstract sockets have no path: only an empty network namespace or Landlock's scope keeps them apart
    private = wall and (policy.network == "none" or bool(files.get("signals")))
    calls = filter_calls(policy.network, private, landlock.abi() >= 3, nested, fixed_cpus)
    return {"mounts": wall, "landlock": 0, "signals": nested, **files, "seccomp": calls}


def confine(policy: Policy) -> dict[str, Any]:
    """Put this process and its descendants behind every wall that this machine has.

    Returns the walls that hold: `mounts`, `landlock` (its ABI), `tcp_ports`, `signals`, `seccomp`;
    capabilities and new privileges are always gone. Open descriptors stay: the caller closes them.
    The mount wall is left out where there is no user namespace; behind it the user's id is `users.USER`.
    With `own_processes` the caller may go on as process 1: all ends with it, and it has to reap.
    """
    gained = enter_mounts(policy)
    return {
        **shut_in(policy, "mounts" in gained),
        "processes": "processes" in gained,
        "user": "user" in gained,
    }


def walls() -> dict[str, Any]:
    """Which walls this machine has, tried out in a child; for `doctor`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            policy = Policy(own_processes=True, user="trial")
            os.write(writer, json.dumps(confine(policy)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        found: dict[str, Any] = json.loads(pipe.read() or b"{}")
    os.waitpid(child, 0)
    return found


def main(arguments: list[str]) -> int:
    """The command; 0 never comes back from a successful exec. 126/127 as a shell answers."""
    if arguments == ["--walls"]:
        sys.stdout.write(json.dumps(walls()) + "\n")
        return 0
    text, arguments = _policy_text(arguments)
    if text is None or not arguments:
        sys.stderr.write("usage: confine.py (POLICY.json | - TEXT) -- command [argument…]\n")
        return 2
    try:
        policy = Policy.parse(json.loads(text))
    except ValueError as error:
        sys.stderr.write(f"confine: bad policy: {error}\n")
        return 2
    if "processes" in (gained := enter_mounts(policy)):
        _see_through()
    shut_in(policy, "mounts" in gained)
    try:
        variables = os.environ if policy.environment is None else policy.environment
        os.execvpe(arguments[0], arguments, variables)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{arguments[0]}: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126


def _see_through() -> None:
    """Return in a child; this process, the first of its namespace, reaps all and ends as that child does."""
    child = os.fork()
    if child == 0:
        return
    while True:
        pid, status = os.wait()
        if pid == child:  # the kernel ends whatever is left with us
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _policy_text(arguments: list[str]) -> tuple[str | None, list[str]]:
    if len(arguments) > 2 and arguments[1] == "--":
        with open(arguments[0], encoding="utf-8") as file:
            return file.read(), arguments[2:]
    if len(arguments) > 3 and arguments[0] == "-" and arguments[2] == "--":
        return arguments[1], arguments[3:]
    return None, []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
