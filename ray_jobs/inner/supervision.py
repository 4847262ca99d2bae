"""The per-task parent: one process that starts a task's function and answers for all that it leaves behind.

It is forked from a zygote or started cold, talks to the runner over one connection, and is the subreaper of
the function's tree. End of file on the connection (the runner canceled, lost the lease, or died) kills the
whole tree; so does the function's end, since what it left running is nobody's any more (rule 40).

Two Landlock layers: the parent's own, of scopes only, makes the tree one signal domain; the function's second
one keeps it from signalling its parent.
Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import socket
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ray_jobs.inner import kernel, landlock, processes, wire
from ray_jobs.inner.confine import Policy

EnterMounts = Callable[[Policy], Sequence[str]]
REPORT = 3  # the descriptor of a function's report to its parent
_REPORT_BYTES = 1 << 16
_TICK_MS = 250
_WITHOUT_PIDFD_MS = 10


@dataclass(frozen=True)
class Job:
    """What a function process has to do; seen by that process only."""

    argv: tuple[str, ...]
    directory: str
    environment: dict[str, str]
    policy: Policy
    mounts: bool  # it is behind a mount wall already

    def tell(self, **report: Any) -> None:
        """Leave a report for the parent at the end; it is lost when it is long or the parent is gone."""
        try:
            os.write(REPORT, json.dumps(report).encode()[:_REPORT_BYTES])
        except OSError:
            pass


def _signal_domain() -> bool:
    """Make this process and its descendants a domain whose signals stay inside, where the kernel can."""
    if landlock.abi() < 6:
        return False
    landlock.Ruleset(files=False).restrict()
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False  # the scope does not hold: no mass kill then


def quiet_fork() -> int:
    """fork(2) without Python's warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 3.12 warns of numpy's threads (rule 41)
        return os.fork()


@dataclass(frozen=True)
class _Bounds:
    """What a parent has put itself and its function behind, and what it watches."""

    policy: Policy
    wall: bool
    scoped: bool  # signals stay inside
    most: int | None  # processes
    memory: int | None  # bytes of all of them

    @classmethod
    def enter(cls, value: dict[str, Any], enter_mounts: EnterMounts) -> _Bounds:
        policy = Policy.parse(value)
        # counted here: RLIMIT_NPROC counts all processes of a user, and none of root's
        most = policy.limits.pop("processes", None)
        memory = policy.limits.get("memory_bytes")  # of each by the kernel, of all of them here
        kernel.become_subreaper()
        wall = "mounts" in enter_mounts(policy)  # before any Landlock layer, which forbids mounts
        kernel.no_new_privileges()
        kernel.drop_capabilities()
        # a namespace's first process reaches that only
        scoped = _signal_domain() or os.getpid() == 1
        return cls(policy, wall, scoped, most, memory)


def fork_function(connection: socket.socket, enter_mounts: EnterMounts) -> Job:
    """Read the request, fork the function's process and see it through. Returns in the function process only.

    `enter_mounts` puts the calling process, and so the function, behind a mount wall if it can.
    The process that calls this becomes the parent and never comes back: it answers
    `{"exit": code, or -signal, "ended": bool, "report": {…}, "times_ms": {…}}` and exits.
    """
    job = None
    try:
        job = _start(connection, enter_mounts)
    except BaseException as error:
        _answer(connection, {"error": f"{type(error).__name__}: {error}"})
    if job is None:
        os._exit(0)
    return job


def fork_ahead(
    connection: socket.socket,
    link: socket.socket,
    policy: dict[str, Any],
    enter_mounts: EnterMounts,
    rehearse: Callable[[Policy, bool], None],
) -> Job:
    """As `fork_function`, before the task is known: all walls but its CPUs' stand when it comes.

    The function's process calls `rehearse(policy, wall)`, which begins its own walls, and waits. A task is
    claimed on `connection` by a first message, which is answered `{"claimed": true}`; `link` is closed then.
    The end of either, before, is the end of both processes.
    """
    job = None
    try:
        job = _start_ahead(connection, link, policy, enter_mounts, rehearse)
    except BaseException as error:
        _answer(connection, {"error": f"{type(error).__name__}: {error}"})
    if job is None:
        os._exit(0)
    return job


def _start_ahead(
    connection: socket.socket,
    link: socket.socket,
    policy: dict[str, Any],
    enter_mounts: EnterMounts,
    rehearse: Callable[[Policy, bool], None],
) -> Job | None:
    bounds = _Bounds.enter(policy, enter_mounts)
    ours, theirs = socket.socketpair()
    child = quiet_fork()
    if child == 0:
        for other in (connection, link, ours):
            other.close()
        _die_first()
        rehearse(bounds.policy, bounds.wall)
        return _wait_for_job(theirs, bounds)
    theirs.close()
    received = wire.receive(connection) if _is_claimed(connection, link, child) else None
    if received is None:
        ours.close()
        os.waitpid(child, 0)  # the zygote never sees it
        return None
    request, (log,) = received
    begun = time.monotonic()
    reader, writer = os.pipe()
    with contextlib.suppress(OSError):  # it has died: its end is found below
        wire.send(ours, request, [log, writer])
    for descriptor in (ours.detach(), log, writer):
        os.close(descriptor)
    _see_through(connection, child, reader, bounds, begun)
    return None


def _is_claimed(connection: socket.socket, link: socket.socket, child: int) -> bool:
    poll = select.poll()
    for side in (connection, link):
        poll.register(side, select.POLLIN | select.POLLRDHUP)
    if link.fileno() in dict(poll.poll()):
        return False  # sent home
    if wire.receive(connection) is None or processes.has_ended(child):
        return False
    wire.send(connection, {"claimed": True})
    connection.settimeout(None)  # its inputs are being laid out
    link.close()
    return True


def _wait_for_job(link: socket.socket, bounds: _Bounds) -> Job:
    try:
        received = wire.receive(link)
    except (OSError, wire.BrokenMessage):
        received = None
    if received is None:
        os._exit(0)  # no task came, or our parent died
    request, (log, report) = received
    link.detach()  # closed below with all others: the object must not close it again
    _own_descriptors(log, report)
    return _job(request, bounds)


def _start(connection: socket.socket, enter_mounts: EnterMounts) -> Job | None:
    received = wire.receive(connection)
    if received is None:
        return None
    request, (log,) = received
    begun = time.monotonic()
    bounds = _Bounds.enter(request["policy"], enter_mounts)
    reader, writer = os.pipe()
    child = quiet_fork()
    if child == 0:
        connection.detach()  # closed below with all others: the object must not close it again
        _own_descriptors(log, writer)
        _die_first()
        return _job(request, bounds)
    os.close(log)
    os.close(writer)
    _see_through(connection, child, reader, bounds, begun)
    return None


def _job(request: dict[str, Any], bounds: _Bounds) -> Job:
    """The CPUs are the task's; all else of the policy stands."""
    cpus = Policy.parse(request["policy"]).cpus
    return Job(
        argv=tuple(request["argv"]),
        directory=request["directory"],
        environment=dict(request["environment"]),
        policy=replace(bounds.policy, cpus=cpus),
        mounts=bounds.wall,
    )


def _see_through(
    connection: socket.socket, child: int, reader: int, bounds: _Bounds, begun: float
) -> None:
    """Watch the function, end all that it leaves, and answer."""
    forked = time.monotonic()
    status, killed = _wait(connection, child, bounds.most, bounds.memory)
    ended = processes.end_descendants(bounds.scoped)
    _answer(
        connection,
        {
            "exit": None if status is None else os.waitstatus_to_exitcode(status),
            "ended": ended,
            "killed": killed,
            "report": _report(reader),
            "times_ms": {"fork": 1e3 * (forked - begun), "run": 1e3 * (time.monotonic() - forked)},
        },
    )


def _own_descriptors(log: int, report: int) -> None:
    """A session of its own; standard streams, the report at 3; everything else inherited is closed."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    null = os.open(os.devnull, os.O_RDONLY)
    high = [fcntl.fcntl(source, fcntl.F_DUPFD, 10) for source in (null, log, log, report)]
    for target, source in enumerate(high):
        os.dup2(source, target, inheritable=target != REPORT)
    try:
        inherited = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        inherited = list(range(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    for descriptor in inherited:
        if descriptor > REPORT:
            try:
                os.close(descriptor)
            except OSError:
                continue  # the one that listed the folder


def _die_first() -> None:
    """When the machine's memory runs out, the kernel takes the function and not the network."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass  # no such file here, or not ours to write: the kernel judges by size


def _wait(
    connection: socket.socket, child: int, most: int | None, memory: int | None
) -> tuple[int | None, str | None]:
    """The function's wait status, or None when its tree must be ended now, and why."""
    poll = select.poll()
    poll.register(connection, select.POLLIN | select.POLLRDHUP)
    tick = _TICK_MS
    try:
        watched = os.pidfd_open(child)
        poll.register(watched, select.POLLIN)
    except (AttributeError, OSError):
        tick = _WITHOUT_PIDFD_MS
    while True:
        events = {descriptor for descriptor, _event in poll.poll(tick)}
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                return status, None
            if pid == 0:
                break
        if connection.fileno() in events:
            return None, "canceled"
        if not events and (most is not None or memory is not None):
            below = processes.descendants(os.getpid())
            if most is not None and len(below) > most:
                return None, f"more than {most} processes"
            if memory is not None and processes.memory(below) > memory:
                return None, f"out of memory, it had more than {memory >> 20} MiB of memory"


def _report(reader: int) -> dict[str, Any]:
    os.set_blocking(reader, False)
    try:
        value = json.loads(os.read(reader, _REPORT_BYTES) or b"{}")
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _answer(connection: socket.socket, message: dict[str, Any]) -> None:
    try:
        connection.settimeout(5)
        wire.send(connection, message)
    except OSError:
        pass  # the runner is gone
