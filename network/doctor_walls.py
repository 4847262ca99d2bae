"""Which walls around functions and RUN lines this machine has, tried out, and what each of them keeps out."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from network.findings import Finding

_CONFINE = Path(__file__).resolve().parent.parent / "ray_jobs" / "inner" / "confine.py"
_PATIENCE_S = 60
FILES, TCP, SIGNALS = 1, 4, 6
"""The Landlock versions that brought rules for files, for TCP ports, and scopes of signals."""


def walls_of_this_machine() -> list[Finding]:
    """The findings of this machine; one `problem` when the trial itself fails."""
    try:
        return list(judged(tried()))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        text = f"the walls around functions could not be tried out: {error}"
        return [Finding("isolation", "walls", "problem", text)]


def tried() -> dict[str, Any]:
    """What `confine.py --walls` says. Raises OSError, ValueError, subprocess.SubprocessError."""
    command = [sys.executable, "-I", "-S", str(_CONFINE), "--walls"]
    done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if not {"mounts", "landlock", "seccomp"} <= set(found):
        raise ValueError("no answer")
    return found


def judged(walls: dict[str, Any]) -> Iterator[Finding]:
    """What each wall means (docs/isolation.md has the whole table)."""
    abi, mounts = int(walls["landlock"]), bool(walls["mounts"])
    yield _seccomp(bool(walls["seccomp"]))
    yield _landlock(abi, mounts)
    yield _namespaces(mounts)
    yield _processes(bool(walls.get("processes")))
    yield _signals(bool(walls.get("signals")), mounts, bool(walls.get("processes")))
    yield _run_lines(abi >= TCP)
    yield _user(mounts, bool(walls.get("user")))
    text = "of each process by the kernel, of all together by a watcher four times a second"
    yield Finding("isolation", "limits of memory and processes", "ok", text)
    text = "a task's CPUs are its own while there are enough, and it cannot change them"
    yield Finding("isolation", "CPUs", "ok" if walls["seccomp"] else "warning", text)


def _seccomp(holds: bool) -> Finding:
    if holds:
        text = "functions have no network, no ptrace, no io_uring, no namespaces"
        return Finding("isolation", "seccomp", "ok", text)
    text = (
        "none for this architecture: a function can reach the network and this machine's services"
    )
    return Finding("isolation", "seccomp", "problem", text)


def _landlock(abi: int, mounts: bool) -> Finding:
    if abi >= SIGNALS:
        return Finding("isolation", "landlock", "ok", f"version {abi}: files, TCP ports, signals")
    if abi >= FILES:
        kept = "files, TCP ports" if abi >= TCP else "files"
        text = f"version {abi}: {kept}; a newer kernel (6.12) has signals too"
        return Finding("isolation", "landlock", "ok" if mounts else "warning", text)
    if mounts:
        text = "not in this kernel: namespaces stand alone, inputs are copied"
        return Finding("isolation", "landlock", "warning", text)
    text = (
        "not in this kernel, and no namespaces either: a function can read whatever this user can. "
        "Linux 5.13 or newer with Landlock switched on (lsm=landlock,…) has it"
    )
    return Finding("isolation", "landlock", "problem", text)


def _namespaces(holds: bool) -> Finding:
    if holds:
        text = "functions see a file tree, a /tmp, a /dev/shm, processes and a network of their own"
        return Finding("isolation", "namespaces", "ok", text)
    text = (
        "user namespaces are refused here: functions have no /tmp and no local sockets between their own "
        "processes (PyTorch's loaders with workers fail), and can connect to Unix sockets that this user "
        "may open. "
    )
    return Finding("isolation", "namespaces", "warning", text + _way_to_namespaces())


def _way_to_namespaces() -> str:
    if _reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "sysctl kernel.apparmor_restrict_unprivileged_userns=0 allows them"
    if _reads("/proc/sys/user/max_user_namespaces") == "0":
        return "sysctl user.max_user_namespaces=10000 allows them"
    if _reads("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "sysctl kernel.unprivileged_userns_clone=1 allows them"
    return "In a container, its seccomp profile or security options forbid them"


def _reads(path: str) -> str | None:
    try:
        return Path(path).read_text("ascii").strip()
    except OSError:
        return None


def _processes(own: bool) -> Finding:
    if own:
        text = "a task and a RUN line see their own only, and whatever is left ends with them"
        return Finding("isolation", "processes", "ok", text)
    text = "no namespace of their own can be had here: what a task leaves behind is found and ended by us"
    return Finding("isolation", "processes", "warning", text)


def _signals(scoped: bool, mounts: bool, own_processes: bool) -> Finding:
    if scoped:
        return Finding("isolation", "signals", "ok", "functions reach their own processes only")
    who = "a function that starts without a zygote" if mounts else "a function"
    text = f"{who} can send signals to processes of this user, and so end them"
    if own_processes:
        text = "functions that run from one zygote at the same time can end each other"
    text += " (Linux 6.12 forbids it)"
    return Finding("isolation", "signals", "warning", text)


def _run_lines(limited: bool) -> Finding:
    if limited:
        text = "RUN lines reach TCP ports below 1024 and those of proxy and package index"
        return Finding("isolation", "network of RUN lines", "ok", text)
    text = (
        "RUN lines reach every port of this machine; each service asks for a password or token of its own. "
        "Linux 6.7 or newer limits them"
    )
    return Finding("isolation", "network of RUN lines", "warning", text)


def _user(mounts: bool, own: bool) -> Finding:
    if os.geteuid() != 0:
        return Finding("isolation", "user", "ok", "functions run as this user, without privileges")
    if own:
        text = "we are root: each environment, runner and build has a user of its own, who owns nothing"
        return Finding("isolation", "user", "ok", text)
    seen = "; they see themselves as 1001" if mounts else ""
    text = (
        f"functions run as root without any capability{seen}: root with all capabilities on Linux 5.12 or "
        "newer gives them users of their own, and an ordinary user is the better choice"
    )
    return Finding("isolation", "user", "warning", text)
