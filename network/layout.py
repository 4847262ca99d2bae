"""Where everything of one network lies: the state folder, and the short private run folder (rule 22)."""

import os
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from network.private_files import private_folder

DEFAULT_STATE = Path(".substra-ray")
LONGEST_RUN_FOLDER = (
    60  # of a socket path's 107 bytes; Ray's own socket names below it take up to 45
)


class UnusableFolder(RuntimeError):
    """A folder cannot be used; the text says why and the way out."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one network, all below `state` but the run folder."""

    state: Path

    @classmethod
    def at(cls, state: Path) -> "Layout":
        return cls(state.expanduser().absolute().resolve())

    @property
    def identity(self) -> str:
        """8 hex digits that mark this network's folders and processes."""
        return sha256(os.fsencode(self.state)).hexdigest()[:8]

    @property
    def run(self) -> Path:
        """Sockets, Ray's temporary files, task folders: short, private, worthless after `down`."""
        parent = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"  # noqa: S108  checked in make_run_folder
        if len(parent) > LONGEST_RUN_FOLDER - 12 or not Path(parent).is_dir():
            parent = "/tmp"  # noqa: S108
        return Path(parent) / f"sr-{self.identity}"

    @property
    def state_file(self) -> Path:
        return self.state / "state.json"

    @property
    def network_file(self) -> Path:
        return self.state / "network.json"

    @property
    def processes_file(self) -> Path:
        """What the supervisor knows of its processes, replaced at every change."""
        return self.state / "processes.json"

    @property
    def lock_file(self) -> Path:
        """Held by the living supervisor."""
        return self.state / "supervisor.lock"

    @property
    def channels_file(self) -> Path:
        return self.state / "settings" / "channels.yaml"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def postgres(self) -> Path:
        return self.state / "postgres"

    @property
    def postgres_sockets(self) -> Path:
        return self.run / "pg"

    @property
    def front_door_configuration(self) -> Path:
        return self.state / "settings" / "front-door.cfg"

    @property
    def ray_token_file(self) -> Path:
        return self.state / "settings" / "ray-token"

    @property
    def ray_folder(self) -> Path:
        return self.run / "ray"

    def settings_file(self, organization: str) -> Path:
        return self.state / "settings" / f"{organization}.json"

    def media(self, organization: str) -> Path:
        return self.state / "organizations" / organization / "medias"

    def servermedias(self, organization: str) -> Path:
        return self.state / "organizations" / organization / "servermedias"

    def run_folder(self, organization: str) -> Path:
        return self.run / organization

    def make(self) -> None:
        """Create the folders.

        Raises:
            UnusableFolder: no right to write there, or somebody else's folder stands in the way.
        """
        try:
            private_folder(self.state)
            for folder in (self.logs, self.state_file.parent / "settings"):
                private_folder(folder)
        except OSError as error:
            raise UnusableFolder(
                f"The state folder {self.state} cannot be used ({error.strerror}). "
                "Give another one with --state."
            ) from error
        self.make_run_folder()

    def make_run_folder(self) -> None:
        """Create the run folder; what somebody else put there is never used.

        Raises:
            UnusableFolder: the folder is a link, or not ours.
        """
        run = self.run
        run.mkdir(mode=0o700, exist_ok=True)
        found = run.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise UnusableFolder(
                f"{run} belongs to somebody else. Remove it, or set XDG_RUNTIME_DIR to a folder of yours."
            )
        run.chmod(0o700)
