"""A runner's next task, made ready while a function runs: folders, root, and a process behind its walls.

Forks, mounts and walls take a third of a short task's time, and need no more than the environment. Whatever of
it does not suit the task that comes is thrown away, and the task starts as the first one does.
"""

import contextlib
import socket
from dataclasses import dataclass
from typing import Any

from ray_jobs.inner import wire
from ray_jobs.lease import Environment
from ray_jobs.root import compose
from ray_jobs.scratch import Scratch, TaskFolders, remove_tree
from ray_jobs.session import Session
from ray_jobs.shares import Share
from ray_jobs.staging import policy_of
from ray_jobs.zygotes import Zygotes

_ANSWER_S = 5.0


@dataclass(slots=True)
class Berth:
    """Folders with their root composed, and the connection to a process that waits behind `policy`."""

    environment: Environment
    folders: TaskFolders
    policy: dict[str, Any]
    connection: socket.socket | None

    def claim(self) -> None:
        """Tell the process that its task comes; whether it lives is told by `claimed`."""
        if self.connection is not None:
            try:
                wire.send(self.connection, {"claim": True})
            except OSError:
                self.leave()

    def claimed(self, policy: dict[str, Any]) -> socket.socket | None:
        """The connection whose next message is the task's request; None if nobody waits behind this policy."""
        connection = self.connection
        if connection is None:
            return None
        try:
            if without_cpus(policy) == self.policy:
                connection.settimeout(_ANSWER_S)
                received = wire.receive(connection)
                connection.settimeout(None)
                if received is not None and received[0].get("claimed") is True:
                    self.connection = None
                    return connection
        except (OSError, wire.BrokenMessage):
            pass  # sent home, or killed
        self.leave()
        return None

    def leave(self) -> None:
        """Send the process home."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Standby:
    """At most one berth. For the runner's own thread."""

    def __init__(self, session: Session, scratch: Scratch, zygotes: Zygotes) -> None:
        self._session = session
        self._scratch = scratch
        self._zygotes = zygotes
        self._berth: Berth | None = None

    def prepare(self, environment: Environment, limits: dict[str, int]) -> None:
        """Make ready for another task like the one that runs; nothing, if that cannot be done."""
        self.clear()
        folders = self._scratch.open(self._zygotes.zone(environment))
        try:
            compose(folders.root, environment)
            policy = policy_of(environment, folders, [], limits, self._session, Share())
            connection = self._zygotes.ahead(environment, policy)
        except (OSError, ValueError):
            self._scratch.remove(folders)
            return
        self._berth = Berth(environment, folders, without_cpus(policy), connection)

    def take(self, environment: Environment) -> Berth | None:
        """What is ready for this environment, claimed; its folders are the caller's from now on."""
        berth, self._berth = self._berth, None
        if berth is None:
            return None
        if self._zygotes.identity(berth.environment) != self._zygotes.identity(environment):
            self._throw_away(berth)
            return None
        berth.claim()
        if berth.environment != environment:  # another function's code
            remove_tree(berth.folders.root)
            compose(berth.folders.root, environment)
        return berth

    def clear(self) -> None:
        """Nothing is expected soon: keep neither process nor folder."""
        berth, self._berth = self._berth, None
        if berth is not None:
            self._throw_away(berth)

    def _throw_away(self, berth: Berth) -> None:
        berth.leave()
        with contextlib.suppress(OSError):
            self._scratch.remove(berth.folders)


def without_cpus(policy: dict[str, Any]) -> dict[str, Any]:
    """What the process can go behind before its task is known."""
    return {**policy, "cpus": []}
