"""What hostile code tries on a network's machine, as a script for functions and RUN lines alike, and the
things that it must not reach. The script prints `FOUND {attempt: "done" or "refused: why"}`.
"""

import contextlib
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ATTACKS = r"""
import ctypes, json, os, resource, signal, socket, subprocess, sys
given = json.load(open(os.environ.get("GIVEN", "given.json")))
libc = ctypes.CDLL(None, use_errno=True)
found = {}
def attempt(name, action):
    try:
        answer = action()
        found[name] = "done" if answer is None else answer
    except (OSError, ValueError) as error:  # limits are refused by the latter
        found[name] = f"refused: {error}"
def call(function, *arguments):
    if getattr(libc, function)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), function)
def read(path):
    with open(path, "rb") as file:
        return None if file.read(1) else "refused: empty"
def listed(folder, name):
    return None if name in os.listdir(folder) else "refused: not there"
def descriptors():
    numbers = sorted(map(int, os.listdir("/proc/self/fd")))[:-1]
    return "refused: none" if numbers in ([0, 1, 2], [0, 1, 2, 3]) else "done"
def environments():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                content = open(f"/proc/{name}/environ", "rb").read()
            except OSError:
                continue
            if given["environment"].encode() in content:
                return "done"
    return "refused: none of the readable ones"
def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
def tcp(port):
    socket.create_connection(("127.0.0.1", port), 3).close()
def mapped(port):
    with socket.socket(socket.AF_INET6) as client:
        client.settimeout(3)
        client.connect(("::ffff:127.0.0.1", port))
def multipath(port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as client:
        client.settimeout(3)
        client.connect(("127.0.0.1", port))
def fast_open(port):
    with socket.socket() as client:
        client.settimeout(3)
        client.sendto(b"x", 0x20000000, ("127.0.0.1", port))
def fast_message(port):
    with socket.socket() as client:
        client.settimeout(3)
        client.sendmsg([b"x"], [], 0x20000000, ("127.0.0.1", port))
def family(number, kind=socket.SOCK_DGRAM):
    socket.socket(number, kind).close()
arm = os.uname().machine == "aarch64"
NUMBERS = {  # x86_64, aarch64
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272), "bpf": (321, 280),
    "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217), "setns": (308, 268),
    "perf_event_open": (298, 241), "io_uring_setup": (425, 425), "open_tree": (428, 428),
    "move_mount": (429, 429), "pivot_root": (155, 41), "chroot": (161, 51), "execveat": (322, 281),
    "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "prlimit64": (302, 261), "process_madvise": (440, 440),
    "fanotify_init": (300, 262), "ioprio_set": (251, 30), "sched_setscheduler": (144, 119),
}
def number(name, *arguments):
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    if libc.syscall(ctypes.c_long(NUMBERS[name][arm]), *passed) < 0:
        raise OSError(ctypes.get_errno(), name)
def of_process(action):
    pidfd = os.pidfd_open(given["pid"])
    try:
        action(pidfd)
    finally:
        os.close(pidfd)
def copied():
    class Piece(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
    place = ctypes.create_string_buffer(8)
    pieces = [Piece(ctypes.addressof(place), 8), Piece(given["address"], 8)]
    number("process_vm_readv", given["pid"], ctypes.byref(pieces[0]), 1, ctypes.byref(pieces[1]), 1, 0)
def slower():
    before = os.getpriority(os.PRIO_PROCESS, given["pid"])
    os.setpriority(os.PRIO_PROCESS, given["pid"], 19)
    return None if os.getpriority(os.PRIO_PROCESS, given["pid"]) != before else "refused: no effect"
def all_slower():
    os.setpriority(os.PRIO_USER, 0, 18)
def moved():
    before = os.sched_getaffinity(given["pid"])
    os.sched_setaffinity(given["pid"], {max(before)})
    after = os.sched_getaffinity(given["pid"])
    return None if after != before else "refused: no effect"
def typed():
    import fcntl
    try:
        fcntl.ioctl(0, 0x5412, b"x")
    except OSError as error:
        if error.errno not in (1, 13):
            return f"done, or would be: {error}"
        raise
def from_memory():
    program = os.memfd_create("program")
    with open(os.path.realpath("/bin/cat"), "rb") as file:
        os.write(program, file.read())
    found = []
    for path in given["files"].values():
        done = subprocess.run([f"/proc/self/fd/{program}", path], pass_fds=[program], capture_output=True)
        found.append(done.stdout)
    os.close(program)
    return None if any(found) else "refused: nothing was read"
def unlimited():
    for name in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        soft, hard = resource.getrlimit(name)
        if hard != resource.RLIM_INFINITY:
            resource.setrlimit(name, (hard, resource.RLIM_INFINITY))
            return
    return "refused: there is no limit"
def core():
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    return None if hard else "refused: none"
def privileges():
    with open("/proc/self/status") as file:
        lines = dict(line.rstrip().split(":\t", 1) for line in file if ":\t" in line)
    left = [n for n in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(lines[n], 16)]
    return f"done: {left}" if left or lines["NoNewPrivs"] != "1" else "refused: none"
for name, path in given["files"].items():
    attempt(f"read {name}", lambda: read(path))
    attempt(f"write {name}", lambda: open(path, "r+").close())
    attempt(f"list the folder of {name}", lambda: listed(*os.path.split(path)))
for name, path in given["sockets"].items():
    attempt(f"connect to {name}", lambda: connect(path))
for name, port in given["ports"].items():
    attempt(f"connect to {name}", lambda: tcp(port))
    attempt(f"connect to {name} by IPv6", lambda: mapped(port))
    attempt(f"connect to {name} by Multipath TCP", lambda: multipath(port))
    attempt(f"connect to {name} by Fast Open", lambda: fast_open(port))
    attempt(f"connect to {name} by a message", lambda: fast_message(port))
attempt("environments of processes", environments)
attempt("signal a process", lambda: os.kill(given["pid"], 0))
attempt("environment of a process", lambda: read(f"/proc/{given['pid']}/environ"))
attempt("memory of a process", lambda: read(f"/proc/{given['pid']}/mem"))
attempt("ptrace", lambda: call("ptrace", 16, given["pid"], 0, 0))
attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close())
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close())
attempt("abstract socket", lambda: connect("\0" + given["abstract"]))
attempt("unshare", lambda: call("unshare", 0x10000000))
attempt("mount", lambda: call("mount", b"none", b"/", b"tmpfs", 0, None))
attempt("become root", lambda: os.setresuid(4711, 4711, 4711))
attempt("shared memory segment", lambda: call("shmget", 4711, 4096, 0o1600))
for name, value in (("packet", 17), ("key", 15), ("bluetooth", 31), ("kernel crypto", 38), ("vsock", 40),
                    ("XDP", 44), ("SMC", 43), ("TIPC", 30), ("CAN", 29)):
    attempt(f"{name} socket", lambda: family(value, socket.SOCK_STREAM if value in (40, 43) else 2))
attempt("SCTP socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close())
attempt("kernel events", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15).close())
attempt("copy memory of a process", copied)
attempt("kcmp", lambda: number("kcmp", os.getpid(), given["pid"], 0, 0, 0))
attempt("descriptor of a process", lambda: of_process(lambda p: number("pidfd_getfd", p, 0, 0)))
attempt("signal by a descriptor", lambda: of_process(lambda p: number("pidfd_send_signal", p, 0, None, 0)))
attempt("end a process", lambda: os.kill(given["pid"], signal.SIGKILL))
attempt("end its group", lambda: os.killpg(given["pid"], signal.SIGKILL))
attempt("limit a process", lambda: resource.prlimit(given["pid"], resource.RLIMIT_CPU, (0, 0)))
attempt("slow a process down", slower)
attempt("slow all processes down", all_slower)
attempt("slow all disks down", lambda: number("ioprio_set", 3, 0, 3 << 13))
attempt("move a process", moved)
attempt("real time", lambda: number("sched_setscheduler", 0, 1, ctypes.byref(ctypes.c_int(50))))
attempt("io_uring", lambda: number("io_uring_setup", 8, ctypes.create_string_buffer(120)))
attempt("bpf", lambda: number("bpf", 0, ctypes.create_string_buffer(128), 128))
attempt("userfaultfd", lambda: number("userfaultfd", 1))
attempt("perf", lambda: number("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0))
attempt("keyring", lambda: number("keyctl", 0, -3, 1))
attempt("add a key", lambda: number("add_key", b"user", b"x", b"x", 1, -3))
attempt("set a namespace", lambda: of_process(lambda p: number("setns", p, 0x00020000)))
attempt("clone a mount", lambda: number("open_tree", -100, b"/", 1))
attempt("pivot the root", lambda: number("pivot_root", b".", b"."))
attempt("change the root", lambda: number("chroot", b"."))
attempt("file handle", lambda: number("name_to_handle_at", -100, b"/", None, None, 0))
attempt("watch all files", lambda: number("fanotify_init", 0, 0))
attempt("unshare processes", lambda: call("unshare", 0x20000000))
attempt("type into a terminal", typed)
attempt("read with a program in memory", from_memory)
attempt("raise a limit", unlimited)
attempt("core dumps", core)
attempt("privileges", privileges)
attempt("descriptors", descriptors)
print("FOUND " + json.dumps(found))
"""


@dataclass
class Machine:
    """Things of a network, as they lie on its machine."""

    files: dict[str, str]
    sockets: dict[str, str]
    ports: dict[str, int]
    abstract: str
    pid: int = 0
    address: int = 0
    environment: str = "SECRET_OF_A_PROCESS=very-secret"


FILES = {
    "a session file with the runner's token": "run/sessions/runner-org-1-0.json",
    "Ray's token": "state/settings/ray-token",
    "an organization's settings": "state/settings/org-1.json",
    "a model": "state/organizations/org-1/medias/models/1/model",
    "another task's input": "run/org-1/tasks/cold/r/1/in_models/1",
}
SOCKETS = {"Ray's socket": "run/raylet", "PostgreSQL's socket": "run/.s.PGSQL"}
_VICTIM = (
    "import ctypes; b = ctypes.create_string_buffer(8)\n"
    "print(ctypes.addressof(b), flush=True); open(0).read()"
)
_SLOWED = 18
SERVICES = ("the API", "PostgreSQL", "the ledger", "Ray")


def _condition(pid: int) -> tuple[object, ...]:
    """What others may change of a process."""
    priority = os.getpriority(os.PRIO_PROCESS, pid)
    return priority, os.sched_getaffinity(pid), resource.prlimit(pid, resource.RLIMIT_CPU)


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A state folder, a run folder, services that listen, a process with a secret in its environment."""
    for name in FILES.values():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("secret")
    found = Machine(
        files={name: str(folder / path) for name, path in FILES.items()},
        sockets={name: str(folder / path) for name, path in SOCKETS.items()},
        ports={},
        abstract=f"of-{folder.name}-{os.getpid()}",
    )
    with contextlib.ExitStack() as stack:
        for address in (*found.sockets.values(), f"\0{found.abstract}"):
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(address)
            server.listen()
        for name in SERVICES:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            found.ports[name] = server.getsockname()[1]
        variable, _, value = found.environment.partition("=")
        child = subprocess.Popen(
            [sys.executable, "-c", _VICTIM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={variable: value},
            start_new_session=True,
        )
        stack.callback(child.communicate)
        assert child.stdout is not None
        found.pid, found.address = child.pid, int(child.stdout.readline())
        before = _condition(child.pid)
        yield found
        assert child.poll() is None
        assert _condition(child.pid) == before
        assert os.getpriority(os.PRIO_PROCESS, 0) != _SLOWED
    assert {Path(path).read_text() for path in found.files.values()} == {"secret"}


def beyond(walls: dict[str, Any], *, network: bool) -> set[str]:
    """Attempts that succeed where a wall is missing (docs/isolation.md); none where all of them stand.

    `walls` is what confine.py says; `network`: for a RUN line, which has the internet.
    """
    possible: set[str] = set()
    if not walls["signals"]:
        possible |= {"signal a process", "signal by a descriptor"}
    if network and not walls["signals"]:
        possible |= {"abstract socket"}
    if network and not walls["tcp_ports"]:
        possible |= {f"connect to {name}{way}" for name in SERVICES for way in ("", " by IPv6")}
    if not walls["landlock"] and not walls["mounts"]:
        possible |= {f"{verb} {name}" for verb in ("read", "write") for name in FILES}
        possible |= {f"list the folder of {name}" for name in FILES}
        possible |= {"environments of processes", "environment of a process"}
        possible |= {"read with a program in memory"}
    return possible
