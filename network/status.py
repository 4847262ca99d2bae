"""`status`: the network and every process of it, with role, organization, pid and health."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from network import probes
from network.layout import Layout
from network.report import Actor, Report
from network.settings_files import network_of
from network.state import State
from network.zygotes import living

# What one control actor hosts (backend/engine/actors/control.py), without the keeper of their leases.
LOOPS = (
    *("event-bridge", "scheduler", "builder", "janitor"),
    *("reporter", "chores", "storage", "runners"),
)
CONTROL = "control-"
RUNNER = "runner-"


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One row of `processes`; loops of one control actor share its pid (rule 45)."""

    role: str
    organization: str | None
    pid: int | None
    healthy: bool


def status(layout: Layout) -> dict[str, Any] | None:
    """The content of network.json and `processes`; None when there is no network in this state folder."""
    state = State.load(layout)
    if state is None:
        return None
    return {**network_of(state), "processes": [asdict(row) for row in rows(layout, state)]}


def is_up(content: dict[str, Any]) -> bool:
    rows = content["processes"]
    return bool(rows) and all(row["healthy"] for row in rows)


def rows(layout: Layout, state: State) -> list[ProcessRow]:
    report = Report.read(layout)
    if report.supervisor is None or not report.supervisor.alive():
        return []
    found = [ProcessRow("supervisor", None, report.supervisor.pid, True)]
    for row in report.rows:
        pid = None if row.process is None else row.process.pid
        if row.role == "engine":
            found += [ProcessRow(loop, row.organization, pid, row.healthy) for loop in LOOPS]
        elif row.role == "api":
            healthy = row.healthy and _answers(state, row.organization)
            found.append(ProcessRow("api", row.organization, pid, healthy))
        elif row.role != "ray-deploy":
            found.append(ProcessRow(row.role, row.organization, pid, row.healthy))
    for actor in report.actors:
        found += _actor_rows(actor)
    for name in state.names:
        zygotes = living(layout.run_folder(name))
        found += [ProcessRow("zygote", name, zygote.pid, True) for zygote in zygotes]
    known = {row.pid for row in found}
    found += _others(report, layout, known)
    return sorted(found, key=lambda row: (row.organization or "", row.role, row.pid or 0))


def _actor_rows(actor: Actor) -> list[ProcessRow]:
    """Rows of the actors that have names of ours: `control-org-1`, `runner-org-1-0`."""
    alive = psutil.pid_exists(actor.pid)
    if actor.name.startswith(CONTROL):
        organization = actor.name.removeprefix(CONTROL)
        return [ProcessRow(loop, organization, actor.pid, alive) for loop in LOOPS]
    if actor.name.startswith(RUNNER):
        organization = actor.name.removeprefix(RUNNER).rpartition("-")[0]
        return [ProcessRow("runner", organization, actor.pid, alive)]
    return []


def _answers(state: State, organization: str | None) -> bool:
    return probes.answers(state.ports[f"api-{organization}"], f"/{organization}/readiness")


def _others(report: Report, layout: Layout, known: set[int | None]) -> list[ProcessRow]:
    """What the kept processes started themselves: runners, zygotes, Ray's own."""
    assert report.supervisor is not None
    found = []
    try:
        below = psutil.Process(report.supervisor.pid).children(recursive=True)
    except psutil.Error:
        return []
    for process in below:
        if process.pid in known:
            continue
        try:
            words = process.cmdline()
            kind = role_of(words, process.name())
            if kind is None or process.status() == psutil.STATUS_ZOMBIE:
                continue
            organization = organization_of(words, layout) or _organization_above(process, layout)
        except psutil.Error:
            continue
        found.append(ProcessRow(kind, organization, process.pid, True))
    return found


def role_of(words: list[str], name: str) -> str | None:
    """The role of a process that the supervisor did not start itself; None for threads of others' work."""
    program = Path(words[0]).name if words else name
    if program in PROGRAMS:  # first: the raylet's arguments hold the commands of its agents
        return PROGRAMS[program]
    line = " ".join(words)
    for role, sign in ROLES:
        if sign in line:
            return role
    return "ray-worker" if program.startswith("ray::") else None


PROGRAMS = {"gcs_server": "ray-gcs", "raylet": "ray-raylet", "haproxy": "ray-haproxy"}
ROLES = (
    ("runner", "ray_jobs"),
    ("runner", "ray::Runner"),
    ("ray-serve-controller", "ray::ServeController"),
    ("ray-serve-replica", "ray::ServeReplica"),
    ("ray-serve-proxy", "ray::ProxyActor"),
    ("ray-serve-proxy", "ray::HAProxyManager"),
    ("ray-dashboard", "ray/dashboard/dashboard.py"),
    ("ray-dashboard", "ray-dashboard"),
    ("ray-agent", "ray/dashboard/agent.py"),
    ("ray-agent", "ray::DashboardAgent"),
    ("ray-runtime-env", "runtime_env/agent"),
    ("ray-runtime-env", "ray::RuntimeEnvAgent"),
    ("ray-monitor", "autoscaler"),
    ("ray-log-monitor", "log_monitor.py"),
    ("ray-worker", "default_worker.py"),
    ("ray-worker", "ray::IDLE"),
)


def organization_of(words: list[str], layout: Layout) -> str | None:
    """The organization whose folder an argument names, or that an actor's title names."""
    for word in words:
        for folder in (layout.run, layout.state / "organizations"):
            below = word.removeprefix(f"{folder}{os.sep}")
            if below != word and below.startswith("org-"):
                return below.split(os.sep, 1)[0]
        if word.startswith("ray::ServeReplica:"):
            return word.split(":")[3]
    return None


def _organization_above(process: psutil.Process, layout: Layout) -> str | None:
    """That of the nearest ancestor that names one."""
    for parent in process.parents()[:4]:
        organization = organization_of(parent.cmdline(), layout)
        if organization is not None:
            return organization
    return None
