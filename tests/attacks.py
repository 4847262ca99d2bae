"""What hostile code tries on a network's machine, as a script for functions and RUN lines alike, and the
things that it must not reach. The script prints `FOUND {attempt: "done" or "refused: why"}`.
"""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ATTACKS = r"""
import ctypes, json, os, signal, socket, sys
given = json.load(open(os.environ.get("GIVEN", "given.json")))
libc = ctypes.CDLL(None, use_errno=True)
found = {}
def attempt(name, action):
    try:
        answer = action()
        found[name] = "done" if answer is None else answer
    except OSError as error:
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
for name, path in given["files"].items():
    attempt(f"read {name}", lambda: read(path))
    attempt(f"write {name}", lambda: open(path, "r+").close())
    attempt(f"list the folder of {name}", lambda: listed(*os.path.split(path)))
for name, path in given["sockets"].items():
    attempt(f"connect to {name}", lambda: connect(path))
for name, port in given["ports"].items():
    attempt(f"connect to {name}", lambda: tcp(port))
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
    environment: str = "SECRET_OF_A_PROCESS=very-secret"


FILES = {
    "a session file with the runner's token": "run/sessions/runner-org-1-0.json",
    "Ray's token": "state/settings/ray-token",
    "an organization's settings": "state/settings/org-1.json",
    "a model": "state/organizations/org-1/medias/models/1/model",
    "another task's input": "run/org-1/tasks/cold/r/1/in_models/1",
}
SOCKETS = {"Ray's socket": "run/raylet", "PostgreSQL's socket": "run/.s.PGSQL"}
SERVICES = ("the API", "PostgreSQL", "the ledger", "Ray")


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
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={variable: value}
        )
        stack.callback(child.communicate)
        found.pid = child.pid
        yield found
    assert {Path(path).read_text() for path in found.files.values()} == {"secret"}


def beyond(walls: dict[str, Any], *, network: bool) -> set[str]:
    """Attempts that succeed where a wall is missing (docs/isolation.md); none where all of them stand.

    `walls` is what confine.py says; `network`: for a RUN line, which has the internet.
    """
    possible: set[str] = set()
    if not walls["signals"]:
        possible |= {"signal a process"}
    if network and not walls["signals"]:
        possible |= {"abstract socket"}
    if network and not walls["tcp_ports"]:
        possible |= {f"connect to {name}" for name in SERVICES}
    if not walls["landlock"] and not walls["mounts"]:
        possible |= {f"{verb} {name}" for verb in ("read", "write") for name in FILES}
        possible |= {f"list the folder of {name}" for name in FILES}
        possible |= {"environments of processes", "environment of a process"}
    return possible
