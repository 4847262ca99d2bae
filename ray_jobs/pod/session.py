"""What a session in a worker pod is told, and the folders of its pod.

The job's arguments are its session's id, its plan, and how long it may be idle; none is a secret (rule 18). The
secret is the group's: a file in the worker's container, from a Kubernetes Secret of the function's group. The
session's token is its keyed digest, so that a pod of another group can never make it.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

BASE = Path("/substra")


def token(key: bytes, session: str) -> str:
    """The token of a session; the control plane keeps a digest of it."""
    return hmac.new(key, session.encode("ascii"), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class PodSession:
    """One session, in one pod."""

    session: str
    plan: str
    url: str
    image: str  # "<repository>@sha256:…" of the function's container
    base: Path = BASE
    token: str = field(default="", repr=False)
    idle_s: float = 10.0  # without a task before the session ends
    wait_s: float = 5.0
    heartbeat_s: float = 0.5
    agent_user: int = 1001
    limits: dict[str, int] = field(default_factory=dict)
    output_bytes: int = 100 << 30
    disk_reserve_bytes: int = 512 << 20
    log_head_bytes: int = 1 << 20
    log_tail_bytes: int = 1 << 20

    @classmethod
    def read(cls, session: str, plan: str, base: Path = BASE) -> Self:
        """From `<base>/session`: `key`, and `options.json` with the names of this class.

        Raises:
            OSError, ValueError, TypeError: a file is missing, or is not what it should be.
        """
        options: dict[str, Any] = json.loads((base / "session/options.json").read_text("utf-8"))
        known = {name: options[name] for name in cls.__dataclass_fields__ if name in options}
        key = (base / "session/key").read_bytes()
        if len(key) < 32:
            raise ValueError("the group's key is too short")
        given = {"session": session, "plan": plan, "base": base, "token": token(key, session)}
        return cls(**{**known, **given})

    @property
    def socket(self) -> Path:
        return self.base / "socket/agent.sock"

    @property
    def inputs(self) -> Path:
        return self.base / "inputs"

    @property
    def outputs(self) -> Path:
        return self.base / "outputs"

    @property
    def work(self) -> Path:
        """The worker's own folder, which the function's container does not have."""
        return self.base / "work"


class Served(Exception):
    """This pod has had its session: it takes no more, and is about to be deleted (rule 34)."""


def devote(session: PodSession) -> None:
    """Give this pod to the session, for good. Raises Served.

    Ray gives a place that became free to the next job at once, before the pool has retired the pod: such a job
    must end before it takes a lease that would die with the pod.
    """
    session.work.mkdir(parents=True, exist_ok=True)
    try:
        with (session.work / "served").open("x", encoding="ascii") as file:
            file.write(f"{session.session} {session.plan}")
    except FileExistsError:
        raise Served(session.session) from None
