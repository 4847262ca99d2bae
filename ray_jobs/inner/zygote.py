"""A warm interpreter of one environment that forks a new process for each task (rules 38 to 41).

Started by a runner through `confine.py`, so that even its site packages load behind the walls:
`python -u zygote.py` with an inherited listening socket and its configuration, JSON, on standard input.
It holds the environment's libraries and never a function's code or data. Every connection begins with the
token and says what it is: `attach` (stays open; when none is left the zygote ends), `warm` (import these
names), `retire`, or `task`, which is handed to a new per-task parent unread.

Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import gc
import hmac
import importlib
import importlib.util
import json
import os
import re
import select
import signal
import socket
import sys
import threading
import time
import warnings
from typing import Any

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_spec = importlib.util.spec_from_file_location(
    "ray_jobs", os.path.join(_PACKAGE, "__init__.py"), submodule_search_locations=[_PACKAGE]
)
assert _spec is not None  # by path: the folder around the package cannot be listed from here
sys.modules["ray_jobs"] = importlib.util.module_from_spec(_spec)
del sys.path[0]

from ray_jobs.inner import kernel, pages, processes, script, supervision, threads, users, wire
from ray_jobs.inner.confine import Policy, begin, enter_nested_mounts, prime, shut_in

_OURS = [name for name in sys.modules if name.partition(".")[0] == "ray_jobs"]
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}(\.[A-Za-z][A-Za-z0-9_]{0,60}){0,6}")
_TICK_MS = 1000
_GRACE_S = 10.0  # without any attached runner
_TRIAL_S = 20.0


class Zygote:
    """The parent of all per-task parents of one environment."""

    def __init__(self, listener: socket.socket, configuration: dict[str, Any]) -> None:
        self._listener = listener
        self._token = str(configuration["token"])
        self._packages = os.path.realpath(str(configuration["packages"]))
        self._idle_s = float(configuration["idle_s"])
        self._runners: list[socket.socket] = []
        self._parents: set[int] = set()
        self._standing: dict[int, socket.socket] = {}  # parents forked for tasks that are to come
        self.begun: dict[str, Any] | None = None  # in a function's process that was forked ahead
        self._last_used = self._last_attached = time.monotonic()
        self._retired = False
        self._flaw: str | None = None
        self.path = list(sys.path)
        self.known: frozenset[str] = frozenset()
        self.thread_setters: list[threads.Setter] = []
        self._warm(list(configuration["names"]))

    @property
    def packages(self) -> str:
        return self._packages

    def _warm(self, names: list[Any]) -> None:
        """Import what earlier tasks imported, if it is the environment's own or Python's; then look whether
        a fork of this process still is as good as a new interpreter."""
        self._send_home(*self._standing)  # they have not imported what is imported now
        for name in names[: script.MOST_NAMES]:
            if isinstance(name, str) and _NAME.fullmatch(name) and self._is_ours(name):
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        importlib.import_module(name)
                except BaseException as error:
                    sys.stderr.write(f"zygote: {name} not imported: {error}\n")
        sys.path_importer_cache.clear()
        gc.collect()
        gc.freeze()  # children leave these pages alone
        prime()
        pages.collapse()
        self.known = frozenset(sys.modules)
        self.thread_setters = threads.setters()
        self._flaw = _flaw(self._parents | set(self._standing))

    def _is_ours(self, name: str) -> bool:
        if name in sys.modules:
            return False
        if script.is_standard(name):
            return True
        try:
            spec = importlib.util.find_spec(name.partition(".")[0])
        except (ImportError, ValueError):
            return False
        if spec is None:
            return False
        places = [spec.origin, *(spec.submodule_search_locations or ())]
        inside = self._packages + os.sep
        return any(place and os.path.realpath(place).startswith(inside) for place in places)

    def serve(self) -> supervision.Job | None:
        """Fork until nobody needs this zygote. A job comes back in function processes only."""
        while not self._is_over():
            poll = select.poll()
            if not self._retired:
                poll.register(self._listener, select.POLLIN)
            for runner in self._runners:
                poll.register(runner, select.POLLIN | select.POLLRDHUP)
            for link in self._standing.values():
                poll.register(link, select.POLLIN | select.POLLRDHUP)
            ready = {descriptor for descriptor, _event in poll.poll(_TICK_MS)}
            self._see_claims(ready)
            self._runners = [runner for runner in self._runners if _still_there(runner, ready)]
            if not self._retired and self._listener.fileno() in ready:
                job = self._accept()
                if job is not None:
                    return job
            self._reap()
        return None

    def _is_over(self) -> bool:
        now = time.monotonic()
        if self._parents:
            self._last_used = now
            return False
        if self._runners:
            self._last_attached = now
        unused = now - self._last_used > self._idle_s
        alone = now - self._last_attached > _GRACE_S
        return self._retired or unused or alone or _is_gone(self._packages)

    def _accept(self) -> supervision.Job | None:
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return None
        connection.settimeout(5)
        try:
            received = wire.receive(connection)
        except (OSError, wire.BrokenMessage):
            received = None
        if received is None or not self._is_trusted(connection, received[0]):
            connection.close()
            return None
        message, descriptors = received
        for descriptor in descriptors:
            os.close(descriptor)
        return self._handle(connection, message)

    def _is_trusted(self, connection: socket.socket, message: dict[str, Any]) -> bool:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        user = int.from_bytes(credentials[4:8], sys.byteorder)
        # a runner that is root is nobody to a zygote that is somebody else: the token tells them apart
        same_user = user in (os.getuid(), users.NOBODY if users.is_somebody_else() else -1)
        return same_user and hmac.compare_digest(str(message.get("token")), self._token)

    def _handle(self, connection: socket.socket, message: dict[str, Any]) -> supervision.Job | None:
        kind = message.get("kind")
        if kind == "task" and self._flaw is None:
            self._last_used = time.monotonic()
            return self._fork(connection)
        if kind == "ahead" and self._flaw is None:
            return self._stand_by(connection, dict(message["policy"]))
        if kind == "warm":
            self._warm(list(message.get("names", [])))
        if kind == "retire":
            self._retired = True
            self._listener.close()
        try:
            works = self._flaw is None
            wire.send(connection, {"works": works, "flaw": self._flaw, "modules": len(self.known)})
        except OSError:
            kind = None
        if kind == "attach":
            self._runners.append(connection)
        else:
            connection.close()
        return None

    def _fork(self, connection: socket.socket) -> supervision.Job | None:
        """Hand the connection, unread, to a new parent."""
        pid = supervision.quiet_fork()
        if pid:
            self._parents.add(pid)
            connection.close()
            return None
        self._leave()
        return supervision.fork_function(connection, enter_nested_mounts)

    def _stand_by(
        self, connection: socket.socket, policy: dict[str, Any]
    ) -> supervision.Job | None:
        """Fork the parent of a runner's next task while its last one runs: forks and walls take a while.

        It is as pristine as the zygote is, and does not outlive the connection nor its link to us.
        """
        link, other = socket.socketpair()
        pid = supervision.quiet_fork()
        if pid:
            other.close()
            connection.close()
            self._standing[pid] = link
            return None
        link.close()
        self._leave()
        return supervision.fork_ahead(
            connection, other, policy, enter_nested_mounts, self._rehearse
        )

    def _rehearse(self, policy: Policy, wall: bool) -> None:
        """In a function's process that waits: go behind walls, and touch what will be touched again."""
        self.begun = begin(policy, wall)
        script.prepare({}, "/", [], self.path)

    def _see_claims(self, ready: set[int]) -> None:
        """Whoever lets go of its link has a task now, or ends."""
        for pid, link in list(self._standing.items()):
            if link.fileno() in ready:
                self._last_used = time.monotonic()
                self._send_home(pid)

    def _send_home(self, *standing: int) -> None:
        """These need not stand by any more: they end, if they have no task by now."""
        for pid in standing:
            self._standing.pop(pid).close()
            self._parents.add(pid)

    def _leave(self) -> None:
        """In a new parent: a session of its own, and nothing of the zygote's."""
        os.setsid()
        for inherited in (self._listener, *self._runners, *self._standing.values()):
            inherited.close()

    def _reap(self) -> None:
        """Forget parents that have ended; what a dead parent left behind came to us and is killed."""
        lost = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._standing:
                self._send_home(pid)
            lost = lost or pid not in self._parents or status != 0
            self._parents.discard(pid)
        if lost:
            mine = [pid for pid, parent in processes.parents().items() if parent == os.getpid()]
            known = self._parents | set(self._standing)
            processes.strike([pid for pid in mine if pid not in known])


def _still_there(runner: socket.socket, ready: set[int]) -> bool:
    if runner.fileno() not in ready:
        return True
    runner.close()  # an attached runner never speaks again: this is its end
    return False


def _is_gone(folder: str) -> bool:
    try:
        return os.stat(folder).st_nlink == 0
    except OSError:
        return True


def _flaw(known_children: set[int]) -> str | None:
    """Why children of this process would not be pristine; None when they are.

    Libraries are imported only, yet an import may do anything. A Python thread does not survive a fork, and
    keeps its locks shut there for ever; native threads are judged by a trial (rule 41).
    """
    threads = [thread.name for thread in threading.enumerate()]
    if len(threads) > 1:
        return f"an import left threads: {', '.join(threads[1:4])}"
    mine = {pid for pid, parent in processes.parents().items() if parent == os.getpid()}
    if mine - known_children:
        return "an import left processes"
    if signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, None):
        return "an import took over SIGCHLD"
    return None if _trial() else "a child does not compute"


def _trial() -> bool:
    """Whether a forked child still computes, which a library's threads may have spoiled (rule 41)."""
    child = supervision.quiet_fork()
    if child == 0:
        code = 1
        try:
            code = 0 if _computes() else 1
        finally:
            os._exit(code)
    deadline = time.monotonic() + _TRIAL_S
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status == 0
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _computes() -> bool:
    right = sum(range(1000)) == 499_500
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        ones = numpy.ones((256, 256))
        right = right and float((ones @ ones)[0, 0]) == 256.0
    if torch is not None:
        ones = torch.ones(64, 64)
        right = right and float((ones @ ones)[0, 0]) == 64.0
    return right


def _run(job: supervision.Job, zygote: Zygote) -> int:
    """The function process: behind the last wall, then the user's script."""
    shut_in(job.policy, job.mounts, zygote.begun)
    os.chdir(job.directory)  # after the mounts: entered before, it would be another mount's folder
    name, *arguments = job.argv
    for module in _OURS:
        del sys.modules[module]
    script.prepare(job.environment, name, arguments, zygote.path)
    if job.policy.cpus:
        threads.limit(len(job.policy.cpus), zygote.thread_setters)
    left = len(sys.modules)
    code = script.run(name)
    script.finish()
    learned, own = script.gained(zygote.known, left, zygote.packages)
    job.tell(modules=learned)
    script.close_files(own)
    return code


def main() -> None:
    configuration = json.loads(sys.stdin.buffer.read())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    kernel.become_subreaper()
    listener = socket.socket(fileno=int(configuration["listener"]))
    zygote = Zygote(listener, configuration)
    job = zygote.serve()
    if job is not None:
        code = 1
        try:
            code = _run(job, zygote)
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(code)


if __name__ == "__main__":
    main()
