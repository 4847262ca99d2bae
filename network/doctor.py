"""`doctor`: what this machine has for a network, what is missing, and the way out. Changes nothing.

Every finding is a fact with a verdict: `ok`, `warning` (works, with a limit that the text names) or `problem`
(a network will not run like this).
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from network import front_door, unprivileged
from network.doctor_walls import walls_of_this_machine
from network.findings import Finding, Verdict
from network.layout import LONGEST_RUN_FOLDER, Layout
from network.ports import FIRST, LAST, is_free
from network.postgres_binaries import LATEST, PostgresUnavailable, installation, major_of
from network.processes import MARK, marked
from network.report import Report
from network.state import DEFAULT_PORT, State, UnusableState

OLDEST_PYTHON, NEWEST_TESTED = (3, 11), (3, 12)
LITTLE_DISK, NO_DISK = 10 << 30, 2 << 30  # bytes free
LITTLE_MEMORY = 3 << 30


@dataclass(frozen=True, slots=True)
class Situation:
    """What the checks look at: a state folder, and what is known of the network in it."""

    layout: Layout
    state: State | None
    running: bool

    @classmethod
    def at(cls, folder: Path) -> "Situation":
        """Raises UnusableState for a damaged state file."""
        layout = Layout.at(folder)
        state = State.load(layout)
        supervisor = Report.read(layout).supervisor
        return cls(layout, state, supervisor is not None and supervisor.alive())


def examine(folder: Path) -> list[Finding]:
    """All findings, in the order in which they are shown."""
    try:
        situation = Situation.at(folder)
    except UnusableState as error:
        layout = Layout.at(folder)
        return [Finding("network", "state", "problem", str(error)), *_machine(layout)]
    found = [*_machine(situation.layout), *_programs(situation.layout)]
    found += walls_of_this_machine()
    return [*found, *_network(situation)]


def exit_code(findings: list[Finding]) -> int:
    """0: all is well; 1: something is a problem. Warnings do not count."""
    return int(any(finding.verdict == "problem" for finding in findings))


def _machine(layout: Layout) -> Iterator[Finding]:
    yield _python()
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    known = sys.platform.startswith("linux") and platform.machine() in ("x86_64", "aarch64")
    limits = "" if known else ": functions run without the kernel's walls here"
    yield Finding("machine", "system", "ok" if known else "warning", system + limits)
    memory = psutil.virtual_memory()
    text = f"{memory.available >> 20} MiB of {memory.total >> 20} MiB available"
    enough = memory.available > LITTLE_MEMORY
    hint = "" if enough else ": two organizations need about 3 GiB"
    yield Finding("machine", "memory", "ok" if enough else "warning", text + hint)
    yield from _disks(layout)


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("machine", "python", "problem", f"{version}: 3.11 or newer is needed")
    if sys.version_info[:2] > NEWEST_TESTED:
        text = (
            f"{version}: SubstraFL 1.0 supports Python up to 3.12 (PYTHON=python3.12 make install)"
        )
        return Finding("machine", "python", "warning", text)
    return Finding("machine", "python", "ok", version)


def _disks(layout: Layout) -> Iterator[Finding]:
    for name, folder in (("state", layout.state), ("run", layout.run)):
        place = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
        free = shutil.disk_usage(place).free
        verdict: Verdict = "ok" if free > LITTLE_DISK else "warning"
        if free < NO_DISK:
            verdict = "problem"
        text = f"{free >> 20} MiB free for {folder}"
        if not os.access(place, os.W_OK):
            verdict, text = "problem", f"{place} cannot be written to: give another --state"
        yield Finding("machine", f"disk of the {name} folder", verdict, text)
    length = len(str(layout.run))
    if length > LONGEST_RUN_FOLDER:
        text = f"{layout.run} is too long for sockets: set XDG_RUNTIME_DIR to a shorter folder"
        yield Finding("machine", "run folder", "problem", text)


def _programs(layout: Layout) -> Iterator[Finding]:
    yield _try("postgresql", lambda: _postgres(layout))
    user = {
        "direct": "as this user",
        "namespace": "in a user namespace, since we are root",
        "nobody": "as nobody, with its data below /var/lib/substra-ray, since we are root",
    }[unprivileged.way()]
    yield Finding("programs", "postgresql runs", "ok", user)
    yield _try("haproxy", front_door.program)
    ray = find_spec("ray") is not None
    text = (
        "found"
        if ray
        else "not installed: only `up --plain` works (pip install 'substra-ray[local]')"
    )
    yield Finding("programs", "ray", "ok" if ray else "warning", text)
    uv = find_spec("uv") is not None
    text = (
        "found"
        if uv
        else "not installed: images cannot be built (pip install 'substra-ray[local]')"
    )
    yield Finding("programs", "uv", "ok" if uv else "problem", text)


def _try(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding("programs", name, "ok", look())
    except (PostgresUnavailable, front_door.FrontDoorUnavailable, OSError) as error:
        return Finding("programs", name, "problem", str(error))


def _postgres(layout: Layout) -> str:
    """What the server's program says of itself. Raises PostgresUnavailable."""
    program = installation(major_of(layout.postgres) or LATEST) / "bin" / "postgres"
    done = subprocess.run(
        [str(program), "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode:
        raise PostgresUnavailable(f"{program} does not run here: {done.stderr.strip()[:200]}")
    return f"{done.stdout.strip()} ({program})"


def _network(situation: Situation) -> Iterator[Finding]:
    layout, state = situation.layout, situation.state
    if state is None:
        yield Finding(
            "network", "state", "ok", f"none in {layout.state}: `substra-ray up` makes one"
        )
        free = is_free(DEFAULT_PORT)
        text = "free" if free else "in use: choose another one with `substra-ray up --port`"
        yield Finding("network", f"port {DEFAULT_PORT}", "ok" if free else "warning", text)
        return
    word = "running" if situation.running else "down"
    text = f"{state.organizations} organizations in {layout.state}, {word}"
    yield Finding("network", "state", "ok", text)
    if situation.running:
        yield from _open_ports(layout)
        return
    left = marked(layout.identity)
    if left:
        pids = ", ".join(str(process.pid) for process in left[:10])
        text = f"processes of it are left ({MARK}): {pids}; `substra-ray up` or `down` ends them"
        yield Finding("network", "processes", "warning", text)
    if not is_free(state.port):
        text = f"its port {state.port} is in use: `substra-ray up --port` moves it"
        yield Finding("network", "front door", "problem", text)
    busy = [use for use, port in state.ports.items() if not is_free(port)]
    text = f"{len(busy)} taken by others, chosen anew between {FIRST} and {LAST} at the next `up`"
    yield Finding("network", "inner ports", "ok", text if busy else "all free")


def _open_ports(layout: Layout) -> Iterator[Finding]:
    """What of the network listens on more than the loopback device (rule 24)."""
    found = open_ports(process.pid for process in marked(layout.identity))
    text = ", ".join(f"{port} ({name})" for port, name in sorted(found.items()))
    if not found:
        yield Finding("network", "open ports", "ok", "everything listens on this machine only")
        return
    text += ": Ray's own, behind its token but for statistics; a firewall should shut them"
    yield Finding("network", "open ports", "warning", text)


def open_ports(pids: Iterator[int]) -> dict[int, str]:
    """TCP ports that these processes open to other machines, with the name of the program."""
    found = {}
    for pid in pids:
        try:
            process = psutil.Process(pid)
            for connection in process.net_connections("tcp"):
                local = connection.laddr
                if connection.status == psutil.CONN_LISTEN and not _is_loopback(local.ip):
                    found[local.port] = process.name()
        except psutil.Error:
            continue  # it has ended, or is another user's
    return found


def _is_loopback(address: str) -> bool:
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"
