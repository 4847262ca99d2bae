"""Processes of a pod: they run on this machine, which is the only node."""

import os
import signal
from pathlib import Path

import psutil

from kuberay.shapes import Pod


def processes(pod: Pod) -> list[int]:
    """Ids, as this machine numbers them; asserts that there are some."""
    containers = pod["status"]["containerStatuses"]
    names = [status["containerID"].rpartition("/")[2] for status in containers]
    found = [
        int(group.parent.name)
        for group in Path("/proc").glob("[0-9]*/cgroup")
        if any(name in _text(group) for name in names)
    ]
    assert found, "its node is another machine"
    return found


def kill_processes(pod: Pod) -> None:
    """SIGKILL to all of them: Kubernetes starts the containers again."""
    for process in processes(pod):
        os.kill(process, signal.SIGKILL)


def memory_mb(pod: Pod) -> float:
    """The proportional set size of all its processes, in MB: pages that are shared count in parts."""
    sizes = [psutil.Process(process).memory_full_info().pss for process in processes(pod)]
    return float(sum(sizes)) / 1e6


def _text(path: Path) -> str:
    """Empty when the process has just ended."""
    try:
        return path.read_text()
    except OSError:
        return ""
