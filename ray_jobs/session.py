"""The session file: all that a runner is given (rule 36). It holds the token, so its mode is 0600."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Session:
    """One runner's session with its organization's API."""

    session: str
    url: str
    run_folder: Path  # short: sockets lie in it
    outbox: Path
    organization: str
    token: str = field(repr=False)
    cpus: int = 1
    zygotes: int = 4  # at most, of the organization; the least recently used one goes
    zygotes_memory_bytes: int = 2 << 30  # of all of them, proportional set size
    zygotes_idle_s: float = 900.0
    heartbeat_s: float = 2.0
    wait_s: float = 20.0
    mount_wall: bool = True  # False: do without user namespaces even where they can be had
    limits: dict[str, int] = field(default_factory=dict)  # of functions: confine.py's names
    shared_memory_bytes: int = 1 << 30  # of one function: /dev/shm behind the mount wall
    output_bytes: int = 100 << 30  # of all outputs of one task together; 0: no limit
    disk_reserve_bytes: int = 512 << 20  # a function that writes ends when less is left
    log_head_bytes: int = 1 << 20
    log_tail_bytes: int = 1 << 20

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; names that this version doesn't know are passed over.

        Raises:
            OSError, ValueError, TypeError, KeyError: unreadable, not JSON, or something is missing.
        """
        value: dict[str, Any] = json.loads(path.read_text("utf-8"))
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        for name in ("run_folder", "outbox"):
            known[name] = Path(known[name])
            if not known[name].is_absolute():
                raise ValueError(f"{name} must be an absolute path")
        return cls(**known)

    @property
    def shares(self) -> Path:
        """Where runners tell each other which CPUs and GPUs are taken: those of all organizations of a network,
        whose run folders lie in one that is closed to other users.
        """
        parent = self.run_folder.parent
        found = parent.stat()
        private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
        return (parent if private else self.run_folder) / "shares"

    @property
    def media(self) -> Path:
        """The organization's own folder, which holds the outbox."""
        return self.outbox.parent
