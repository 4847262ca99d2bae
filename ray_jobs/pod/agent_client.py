"""Talk to the agent in the function's container, which is not trusted: shapes and waits are checked."""

import os
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_jobs.execution import Execution
from ray_jobs.inner import wire

AGENT_USER = 1001
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_PATIENCE_S = 20.0  # more than the agent takes to end what will not die
_POLL_S = 0.02


class NoAgent(Exception):
    """It is not there, is somebody else, or answers what it never should: the pod is of no use any more."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Who answers: the image that its container was made from, and what the image says of itself."""

    image: str
    workdir: str
    environment: dict[str, str]
    busy: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """A task's folder in the function's container; `policy` lacks the limits.

    `warm`: a zygote runs it. `cold`: why none does and none will, said once.
    """

    execution: Execution
    directory: str
    home: str
    policy: dict[str, Any]
    warm: bool = False
    cold: str | None = None


class Agent:
    """The agent behind a socket. For one thread."""

    def __init__(self, path: Path, user: int = AGENT_USER) -> None:
        self._path = path
        self._user = user

    def wait(self, for_s: float) -> Hello:
        """Its hello, as soon as it answers. Raises NoAgent after `for_s` seconds."""
        ends = time.monotonic() + for_s
        while True:
            try:
                return self.hello()
            except NoAgent as error:
                if time.monotonic() > ends:
                    raise NoAgent(f"no agent within {for_s:g} s: {error}") from error
            time.sleep(_POLL_S)

    def hello(self) -> Hello:
        answer = self._ask({"do": "hello"})
        try:
            environment = dict(answer["environment"])
            return Hello(
                image=str(answer["image"]),
                workdir=str(answer["workdir"]),
                environment={str(name): str(value) for name, value in environment.items()},
                busy=bool(answer["busy"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise NoAgent(f"a strange hello: {error!r}") from error

    def prepare(self, task: str, **zygote: Any) -> Prepared:
        """A fresh folder for `task`, and the connection on which its function starts.

        `zygote`: the `python` and `environment` of one, if one is to be tried. Raises NoAgent.
        """
        connection = self._connect()
        descriptors: list[int] = []
        try:
            answer = _call(connection, {"do": "run", "task": task, **zygote}, descriptors)
            given = _of_zygote(descriptors)
            if given is not None:
                connection.close()
                connection = given
            policy = answer["policy"]
            if not isinstance(policy, dict):
                raise NoAgent("a strange policy")
            connection.settimeout(None)
            cold = answer.get("cold")
            return Prepared(
                Execution.in_zygote(connection),
                str(answer["directory"]),
                str(answer["home"]),
                policy,
                warm=given is not None,
                cold=None if cold is None else str(cold)[:300],
            )
        except KeyError as error:
            connection.close()
            raise NoAgent(f"an answer without {error}") from error
        except BaseException:
            connection.close()
            raise

    def learn(self, names: list[str]) -> None:
        """Let the zygote import these modules before its next task. Raises NoAgent."""
        self._ask({"do": "learn", "names": names})

    def settle(self, task: str) -> None:
        """Kill what the task left running, make its outputs readable. Raises NoAgent."""
        if self._ask({"do": "settle", "task": task}).get("ended") is not True:
            raise NoAgent("processes of the function do not end")

    def clean(self) -> None:
        """Empty all that a function may write. Raises NoAgent: no other task may run there then."""
        answer = self._ask({"do": "clean"})
        if answer.get("ended") is not True or answer.get("left") != []:
            raise NoAgent(f"the container is not clean: {str(answer)[:300]}")

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_PATIENCE_S)
        try:
            connection.connect(str(self._path))
            data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            user = _CREDENTIALS.unpack(data)[1]
            if user != self._user:
                raise NoAgent(f"user {user} listens instead of {self._user}")
        except OSError as error:
            connection.close()
            raise NoAgent(str(error)) from error
        except NoAgent:
            connection.close()
            raise
        return connection

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        with self._connect() as connection:
            return _call(connection, message)


def _call(
    connection: socket.socket, message: dict[str, Any], taken: list[int] | None = None
) -> dict[str, Any]:
    """The answer; descriptors beside it are added to `taken`, or closed. Raises NoAgent."""
    what = message["do"]
    try:
        wire.send(connection, message)
        received = wire.receive(connection)
    except (OSError, wire.BrokenMessage) as error:
        raise NoAgent(f"{what}: {error}") from error
    if received is None:
        raise NoAgent(f"{what}: no answer")
    answer, descriptors = received
    if taken is not None and "error" not in answer:
        taken += descriptors
        descriptors = []
    for descriptor in descriptors:
        os.close(descriptor)
    if "error" in answer:
        raise NoAgent(f"{what}: {str(answer['error'])[:300]}")
    return answer


def _of_zygote(descriptors: list[int]) -> socket.socket | None:
    """The connection that came beside an answer; all descriptors are taken over. Raises NoAgent."""
    if not descriptors:
        return None
    first, *others = descriptors
    descriptors.clear()
    for descriptor in others:
        os.close(descriptor)
    try:
        given = socket.socket(fileno=first)
    except OSError as error:
        os.close(first)
        raise NoAgent("what it gave is no socket") from error
    if given.family != socket.AF_UNIX or given.type != socket.SOCK_STREAM:
        given.close()
        raise NoAgent("a strange socket")
    return given
