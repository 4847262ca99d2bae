"""The agent: the first process of a function's container. `server.py CONFIGURATION`, one JSON argument.

    {"socket": path, "inputs": folder, "outputs": folder, "scratch": folder, "writable": [folder…],
     "peer": uid of the runner, "image": "<repository>@sha256:…"}

It listens on the Unix socket, talks to processes of `peer` only, and does one thing at a time:

* `{"do": "hello"}` → `{"agent": 1, "image", "workdir", "environment", "busy"}`;
* `{"do": "run", "task", "python"?, "environment"?}` → `{"directory", "home", "policy", "cold"?}`, then the
  runner sends `supervision`'s request with the log's descriptor on the same connection, and gets its answer
  there; closing it kills the function. With `python`, the word that starts the image's interpreter, a zygote
  is tried (`warm`): a descriptor beside the answer is the connection to use instead of this one, `cold` says
  why there is none where that is news;
* `{"do": "learn", "names"}` → the zygote imports these modules before its next task;
* `{"do": "settle", "task"}` → what runs is killed, the task's outputs become readable for the runner;
* `{"do": "clean"}` → what runs is killed, all writable places are emptied; `{"left": [paths]}`.

Everything that the image brings runs confined, in children of the per-task parent. The agent itself runs on
our interpreter, not the image's, and knows no secret. What it says is believed by nobody: the runner judges
files (rule 16). Standard library only.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
from typing import Any

if not __package__:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from ray_jobs.agent import places, warm
from ray_jobs.inner import kernel, processes, supervision, wire
from ray_jobs.inner.confine import enter_mounts, shut_in

if not __package__:
    del sys.path[0]

VERSION = 1
PR_SET_DUMPABLE = 4
_PATIENCE_S = 5.0
_REAP_MS = 1000
_NOT_OF_THE_IMAGE = ("KUBERNETES_", "LD_")  # the cluster's, and what our loader must not see
_NOT_FOR_FUNCTIONS = ("proc", "sys", "dev", "run", "tmp", "substra")


class Refused(Exception):
    """A request that makes no sense; its text is the answer's `error`."""


class Agent:
    """Serves until SIGTERM."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._socket = str(configuration["socket"])
        self._inputs = str(configuration["inputs"])
        self._outputs = str(configuration["outputs"])
        self._scratch = str(configuration["scratch"])
        self._writable = [str(folder) for folder in configuration.get("writable", ())]
        self._peer = int(configuration["peer"])
        self._image = str(configuration.get("image", ""))
        self._workdir = os.getcwd()
        self._environment = {
            name: value
            for name, value in _given_environment().items()
            if not name.startswith(_NOT_OF_THE_IMAGE)
        }
        self._running: int | None = None  # a task's parent; 0: it is the zygote's child
        # of a PID namespace: kill(-1) reaches exactly what we started
        self._alone = os.getpid() == 1
        beside = os.path.join(os.path.dirname(self._socket), "zygote.sock")
        self._warm = warm.Warm(beside, self._alone)

    def serve(self) -> None:
        listener = self._listen()
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while True:
            ready = poll.poll(_REAP_MS)
            self._reap()
            if not ready:
                continue
            connection, _address = listener.accept()
            try:
                self._handle(connection, listener)
            except (OSError, wire.BrokenMessage, ValueError, KeyError, TypeError) as error:
                sys.stderr.write(f"agent: {error!r}\n")
            finally:
                connection.close()

    def _listen(self) -> socket.socket:
        try:
            os.unlink(self._socket)
        except FileNotFoundError:
            pass
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._socket)
        os.chmod(self._socket, 0o666)  # noqa: S103  who may talk is judged by SO_PEERCRED, not by groups
        listener.listen(8)
        return listener

    def _handle(self, connection: socket.socket, listener: socket.socket) -> None:
        if _user(connection) != self._peer:
            return
        connection.settimeout(_PATIENCE_S)
        received = wire.receive(connection)
        if received is None:
            return
        message, descriptors = received
        for descriptor in descriptors:
            os.close(descriptor)
        try:
            answer = self._answer(message)
        except Refused as error:
            wire.send(connection, {"error": str(error)})
            return
        if message["do"] != "run":
            wire.send(connection, answer)
        elif (zygote := self._zygote(message, answer)) is not None:
            with zygote:
                wire.send(connection, answer, [zygote.fileno()])
            self._running = 0
        else:
            wire.send(connection, answer)
            connection.settimeout(None)
            self._fork(connection, listener)

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        what = message["do"]
        if what == "hello":
            return {
                "agent": VERSION,
                "image": self._image,
                "workdir": self._workdir,
                "environment": self._environment,
                "busy": self._running is not None,
            }
        if what == "run":
            return self._prepare(_name(message))
        if what == "settle":
            ended = self._kill()
            try:
                places.publish(os.path.join(self._outputs, _name(message)))
            finally:
                self._warm.go_on()
            return {"ended": ended}
        if what == "learn":
            self._warm.learn(list(message["names"]))
            return {}
        if what == "clean":
            return self._clean()
        raise Refused(f"unknown request {what!r}")

    def _prepare(self, task: str) -> dict[str, Any]:
        """The task's folder, and the policy of its function; limits are the runner's to add."""
        if self._running is not None:
            raise Refused("a function runs already")
        own = os.path.join(self._scratch, task)
        os.mkdir(own, 0o700)
        directory = os.path.join(own, "root")
        places.mirror(self._workdir, directory)
        home = directory
        if self._environment.get("HOME", self._workdir) != self._workdir:
            home = os.path.join(own, "home")
            os.mkdir(home, 0o700)
        outputs = os.path.join(self._outputs, task)
        image = [f"/{name}" for name in sorted(os.listdir("/")) if name not in _NOT_FOR_FUNCTIONS]
        policy = {
            "read": [os.path.join(self._inputs, task)],
            "execute": image if self._workdir == "/" else [*image, self._workdir],
            "write": [own, outputs, *self._writable],
            "network": "none",
            "mounts": False,
        }
        return {"directory": directory, "home": home, "policy": policy}

    def _zygote(self, message: dict[str, Any], answer: dict[str, Any]) -> socket.socket | None:
        """A connection to the zygote, if this task can have it; else `answer` says why, once."""
        python, given = message.get("python"), message.get("environment")
        if not isinstance(python, str) or not isinstance(given, dict):
            return None
        home = os.path.join(self._scratch, ".warm")
        environment = {str(name): str(value) for name, value in given.items()}
        environment.pop("PYTHONPATH", None)  # a task's: its child looks there itself
        environment.update(HOME=home, TMPDIR=home)
        places_of = (self._inputs, self._outputs, self._scratch)
        try:
            os.makedirs(home, 0o700, exist_ok=True)
            return self._warm.connect(
                python, environment, warm.policy_of(answer["policy"], *places_of)
            )
        except warm.NoZygote as error:
            if str(error):
                sys.stderr.write(f"agent: no zygote, functions start cold: {error}\n")
                answer["cold"] = str(error)
            return None

    def _output_folders(self) -> list[str]:
        return [entry.path for entry in os.scandir(self._outputs) if entry.is_dir()]

    def _fork(self, connection: socket.socket, listener: socket.socket) -> None:
        """The per-task parent takes the connection over; the function is its child."""
        child = supervision.quiet_fork()
        if child:
            self._running = child
            return
        try:
            listener.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _become_function(connection)
        finally:
            os._exit(126)

    def _clean(self) -> dict[str, Any]:
        ended = self._kill()
        try:
            left = places.empty([self._scratch, *self._writable, *self._output_folders()])
        finally:
            self._warm.go_on()
        return {"ended": ended, "left": left[:100]}

    def _kill(self) -> bool:
        """End every process of this container but this one, and a zygote that is alone, which is stopped."""
        self._reap()
        self._running = None
        if self._warm.is_alone():
            return True
        self._warm.end()
        return processes.end_descendants(self._alone, _PATIENCE_S)

    def _reap(self) -> None:
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._running:
                self._running = None
            self._warm.reaped(pid)


def _become_function(connection: socket.socket) -> None:
    """As `inner/cold.py`: returns never in the parent, and in the function only when it cannot start."""
    job = supervision.fork_function(connection, enter_mounts)
    try:
        shut_in(job.policy, job.mounts)
        os.chdir(job.directory)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(job.argv[0], job.argv, job.environment)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{job.argv[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _given_environment() -> dict[str, str]:
    """What the container was started with: the interpreter adds LC_CTYPE to `os.environ`."""
    with open("/proc/self/environ", "rb") as file:
        lines = file.read().split(b"\0")
    pairs = (line.partition(b"=") for line in lines if b"=" in line)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def _user(connection: socket.socket) -> int:
    credentials = struct.Struct("3i")  # pid, uid, gid
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    return int(credentials.unpack(data)[1])


def _name(message: dict[str, Any]) -> str:
    """The task's name: one path component."""
    name = message["task"]
    if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
        raise Refused("a task's name is one path component")
    return name


def _end(_number: int, _frame: object) -> None:
    """SIGTERM. The first process of a container gets no signal without a handler; the rest dies with it."""
    os._exit(0)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: server.py CONFIGURATION\n")
        return 2
    agent = Agent(json.loads(arguments[0]))
    signal.signal(signal.SIGTERM, _end)
    kernel.become_subreaper()
    kernel.prctl(PR_SET_DUMPABLE, 0)
    os.umask(0o022)
    agent.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
