"""Bring a network up, extend it, end it: what the command line does, without its words and tables."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psutil

from network import probes
from network.last_words import last_lines, reason_of
from network.layout import Layout, UnusableFolder
from network.membership import lonely
from network.pages import INDEX
from network.ports import is_free
from network.processes import MARK, ProcessId, descendants, end, marked
from network.report import Report, Row
from network.settings_files import write_all
from network.state import DEFAULT_ORGANIZATIONS, DEFAULT_PORT, State
from network.supervisor import hold
from network.zygotes import living

OURS = {
    *("state.json", "network.json", "processes.json", "supervisor.lock", "up.lock"),
    *("settings", "logs", "postgres", "organizations"),
}
READY_TIMEOUT_S = 180
DOWN_TIMEOUT_S = 90
MOST_DEATHS = 5
"""Of a process that never answered: another try would end in the same way."""
Outcome = Literal["started", "running", "extended"]


class NetworkError(RuntimeError):
    """The network cannot do what was asked; the text says the way out."""


class NeverUp(NetworkError):
    """Something in the network cannot start, and waiting will not change that."""


def supervisor_runs(layout: Layout) -> bool:
    """Whether somebody holds the supervisor's lock."""
    if not layout.lock_file.exists():
        return False
    descriptor = hold(layout)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def prepare(
    layout: Layout,
    *,
    organizations: int | None = None,
    port: int | None = None,
    workers: int | None = None,
    plain: bool | None = None,
    frontend: Path | None = None,
) -> tuple[Outcome, State]:
    """Write what a supervisor needs, or what a running one has to read again (it is told).

    Raises:
        NetworkError: the wish and what is there do not fit; the text says the way out.
    """
    _refuse_foreign_folder(layout)
    page = _built(frontend)
    layout.make()
    with _one_at_a_time(layout):
        state = State.load(layout)
        if supervisor_runs(layout):
            if state is None:
                raise NetworkError(
                    f"A supervisor runs on {layout.state}, but its state.json is gone. "
                    "End it with `substra-ray down`, then try again."
                )
            return _extend(layout, state, organizations, port, page)
        end_left_overs(layout)
        if state is None:
            state = State.new(
                organizations=organizations or DEFAULT_ORGANIZATIONS,
                port=port or DEFAULT_PORT,
                workers=workers,
                plain=bool(plain),
            )
        _apply(state, organizations, port, workers, plain)
        state.frontend = page or state.frontend
        _refuse_busy_port(state.port)
        state.complete()
        state.replace_busy_ports()
        state.save(layout)
        _initialise(layout, state)
        return "started", state


def _apply(
    state: State,
    organizations: int | None,
    port: int | None,
    workers: int | None,
    plain: bool | None,
) -> None:
    _refuse_fewer(state, organizations)
    state.organizations = organizations or state.organizations
    state.port = port or state.port
    state.workers = workers or state.workers
    state.plain = state.plain if plain is None else plain


def _initialise(layout: Layout, state: State) -> None:
    """Files follow the state; PostgreSQL's password file is needed for them."""
    from network.settings_files import postgres_of

    postgres_of(layout, state).initialise()
    write_all(layout, state)


def _extend(
    layout: Layout, state: State, organizations: int | None, port: int | None, page: str | None
) -> tuple[Outcome, State]:
    if port not in (None, state.port):
        raise NetworkError(
            f"This network runs on port {state.port}. To move it: `substra-ray down`, "
            f"then `substra-ray up --port {port}`."
        )
    _refuse_fewer(state, organizations)
    if organizations in (None, state.organizations) and page in (None, state.frontend):
        return "running", state
    state.organizations = organizations or state.organizations
    state.frontend = page or state.frontend
    state.complete()
    state.save(layout)
    write_all(layout, state)
    report = Report.read(layout)
    if report.supervisor is None or not report.supervisor.signal(signal.SIGHUP):
        raise NetworkError("The supervisor does not answer: `substra-ray down`, then up again.")
    return "extended", state


def _built(folder: Path | None) -> str | None:
    """The absolute path of a built front end."""
    if folder is None:
        return None
    if not (folder / INDEX).is_file():
        raise NetworkError(f"{folder} is no built front end: it has no {INDEX}.")
    return str(folder.absolute())


def _refuse_fewer(state: State, organizations: int | None) -> None:
    if organizations is not None and organizations < state.organizations:
        raise NetworkError(
            f"This network has {state.organizations} organizations, and their data stay: "
            "give another folder with --state for a smaller one."
        )


def _refuse_busy_port(port: int) -> None:
    if not is_free(port):
        raise NetworkError(
            f"Port {port} is taken by another program. Choose another one: substra-ray up --port {port + 1}"
        )


def _refuse_foreign_folder(layout: Layout) -> None:
    """Never make a folder private, or fill it, that holds something else."""
    state = layout.state
    if state.exists() and not state.is_dir():
        raise UnusableFolder(f"{state} is no folder. Give another one with --state.")
    if state.is_dir():
        names = {entry.name for entry in state.iterdir()}
        if names and not names & OURS:
            raise UnusableFolder(
                f"{state} holds other files and no network. Give an empty or new folder with --state."
            )


@contextmanager
def _one_at_a_time(layout: Layout) -> Iterator[None]:
    with (layout.state / "up.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ---------------------------------------------------------------------- starting
def start_detached(layout: Layout) -> subprocess.Popen[bytes]:
    """Leave a supervisor behind that survives this terminal."""
    environment = {**os.environ, MARK: layout.identity}
    packages = str(Path(__file__).resolve().parent.parent)
    given = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = packages if not given else packages + os.pathsep + given
    with (layout.logs / "supervisor.log").open("ab", buffering=0) as output:
        return subprocess.Popen(
            [sys.executable, "-m", "network.supervisor", "--state", str(layout.state)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=layout.run,
            env=environment,
            start_new_session=True,
        )


def waiting_for(layout: Layout, state: State) -> list[str]:
    """Names of what does not answer yet; empty when the network is up."""
    report = Report.read(layout)
    if report.phase != "running":
        waiting = [row.name for row in report.rows if not row.healthy]
        return waiting or ["supervisor"]
    if state.frontend is not None and not any(row.role == "frontend" for row in report.rows):
        return ["frontend"]  # a running supervisor has not read the state again yet
    silent = [
        name
        for name in state.names
        if not probes.answers(state.port, f"/{name}/readiness") or not _expected(report, name)
    ]
    return silent or lonely(layout, state)


def _expected(report: Report, name: str) -> bool:
    return any(row.organization == name for row in report.rows)


def wait_until_up(
    layout: Layout,
    state: State,
    *,
    supervisor: "subprocess.Popen[bytes] | None" = None,
    timeout_s: float = READY_TIMEOUT_S,
) -> Iterator[list[str]]:
    """Yields what is waited for, again and again, until everything answers.

    `supervisor` is the process when it was started just now: on a busy machine it takes its lock late.

    Raises:
        NeverUp: a process cannot start; with its own words.
        NetworkError: the supervisor ended, or the time is over; with the last lines of the log.
    """
    deadline = time.monotonic() + timeout_s
    grace = time.monotonic() + 10
    before = {row.name: row.restarts for row in Report.read(layout).rows}
    while missing := waiting_for(layout, state):
        for row in Report.read(layout).rows:
            _refuse_hopeless(layout, row, row.restarts - before.get(row.name, 0))
        now = time.monotonic()
        ended = now > grace if supervisor is None else supervisor.poll() is not None
        if ended and not supervisor_runs(layout):
            raise NetworkError(f"The supervisor ended.\n{last_lines(layout.logs, ['supervisor'])}")
        if now > deadline:
            raise NetworkError(
                f"No answer after {timeout_s:.0f} s from: {', '.join(missing)}.\n"
                f"{last_lines(layout.logs, missing)}\nLogs: {layout.logs}"
            )
        yield missing
        time.sleep(0.1)


def _refuse_hopeless(layout: Layout, row: Row, deaths: int) -> None:
    if row.healthy:
        return
    if row.last_exit == os.EX_CONFIG:  # it says itself that it never will
        raise NeverUp(f"{row.name}: {reason_of(layout.logs, row.name)}\nLogs: {layout.logs}")
    if deaths >= MOST_DEATHS:
        raise NeverUp(
            f"{row.name} ends again and again.\n{last_lines(layout.logs, [row.name])}\nLogs: {layout.logs}"
        )


# ---------------------------------------------------------------------- ending
def stop(layout: Layout) -> bool:
    """End the network; False when nothing was running.

    Raises:
        NetworkError: the supervisor does not end.
    """
    ran = False
    if supervisor_runs(layout):
        ran = True
        supervisor = Report.read(layout).supervisor or _supervisor_by_mark(layout)
        if supervisor is not None:
            supervisor.signal(signal.SIGTERM)
        deadline = time.monotonic() + DOWN_TIMEOUT_S
        while supervisor_runs(layout) and time.monotonic() < deadline:
            time.sleep(0.1)
    ran = end_left_overs(layout) or ran
    if supervisor_runs(layout):
        raise NetworkError(f"The supervisor of {layout.state} does not end; see {layout.logs}.")
    shutil.rmtree(layout.run, ignore_errors=True)
    return ran


def end_left_overs(layout: Layout) -> bool:
    """End processes of a network whose supervisor is gone, found by pid and start time, tree and mark."""
    report = Report.read(layout)
    roots = [row.process for row in report.rows if row.process is not None]
    found = {process for process in roots if process.alive()}
    for process in tuple(found):
        found.update(descendants(process.pid))
    for process in marked(layout.identity):
        found.update((process, *descendants(process.pid)))
    for folder in layout.run.glob("org-*"):
        for zygote in living(folder):
            found.update((zygote, *descendants(zygote.pid)))
    ourselves = _ourselves()
    found = {process for process in found if process.pid not in ourselves}
    servers = {process for process in found if _is_postgres(process)}
    end(found - servers, grace_s=8)
    end(servers, grace_s=15, first=signal.SIGINT)
    layout.processes_file.unlink(missing_ok=True)
    return bool(found)


def _ourselves() -> set[int]:
    """This process and those that it runs in."""
    own = psutil.Process()
    return {own.pid, *(parent.pid for parent in own.parents())}


def _is_postgres(process: ProcessId) -> bool:
    with contextlib.suppress(psutil.Error):
        return "postgres" in psutil.Process(process.pid).name()
    return False


def _supervisor_by_mark(layout: Layout) -> ProcessId | None:
    for process in marked(layout.identity):
        with contextlib.suppress(psutil.Error):
            if "network.supervisor" in psutil.Process(process.pid).cmdline():
                return process
    return None


def purge(layout: Layout) -> None:
    """Remove everything that a network keeps, and the folder if nothing else is in it."""
    location = layout.postgres / "location"
    if location.exists():
        shutil.rmtree(location.read_text("utf-8").strip(), ignore_errors=True)
    for name in OURS:
        path = layout.state / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        layout.state.rmdir()
