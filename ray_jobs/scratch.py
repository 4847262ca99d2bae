"""Where tasks live while they run: two folders each, in the zone of the zygote that may see them.

    <base>/<zone>/r/<name>   what the task may only read: inputs, arguments
    <base>/<zone>/w/<name>   what it may write: root, out, tmp
    <base>/<zone>/h          the zygote's own HOME

A zygote is untrusted, and its children's walls can only be narrower than its own: it must be able to reach
`r` (read) and `w` (write). So it cannot be let near them by name instead: both folders have mode 0300 (no
listing, which ring 3 cannot change), the names are random, and only the per-task parent gets to know one.
Two trees, because no file can be read-only below a writable folder in Landlock.
"""

import fcntl
import os
import secrets
import shutil
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

COLD = "cold"
_CLAIM_BYTES = 4096  # names of a few folders


@dataclass(frozen=True, slots=True)
class Zone:
    """The folders of one zygote's tasks."""

    folder: Path

    @property
    def read(self) -> Path:
        return self.folder / "r"

    @property
    def write(self) -> Path:
        return self.folder / "w"

    @property
    def home(self) -> Path:
        return self.folder / "h"


@dataclass(frozen=True, slots=True)
class TaskFolders:
    """One task's folders; `outputs` is a descriptor of `out`, taken before anything untrusted ran."""

    zone: Zone
    name: str
    outputs: int

    @property
    def read(self) -> Path:
        return self.zone.read / self.name

    @property
    def write(self) -> Path:
        return self.zone.write / self.name

    @property
    def root(self) -> Path:
        return self.write / "root"

    @property
    def out(self) -> Path:
        return self.write / "out"

    @property
    def tmp(self) -> Path:
        return self.write / "tmp"


class Scratch:
    """Makes and removes task folders; what a killed runner left is removed by the next one.

    They lie in the run folder, or beside the outbox when that is another file system: inputs are then
    hard links and outputs are moved instead of copied, and a run folder in memory stays small.
    """

    def __init__(self, run_folder: Path, media: Path, session: str) -> None:
        run_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        media.mkdir(parents=True, exist_ok=True, mode=0o700)
        same = run_folder.stat().st_dev == media.stat().st_dev
        self.base = (run_folder if same else media) / "tasks"
        self.base.mkdir(exist_ok=True, mode=0o700)
        self._claims = run_folder / "claims"
        self._claims.mkdir(exist_ok=True, mode=0o700)
        self._claim = os.open(self._claims / session, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._claimed: set[str] = set()
        self._claiming = threading.Lock()
        self._remover: threading.Thread | None = None
        self._remove_orphans(session)

    def zone(self, name: str) -> Zone:
        """The zone of this name, made if need be."""
        zone = Zone(self.base / name)
        zone.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (zone.read, zone.write):
            folder.mkdir(exist_ok=True, mode=0o300)
        return zone

    def open(self, zone: Zone) -> TaskFolders:
        """Fresh folders for one task, claimed by this runner; those to be removed are gone by then."""
        self._settle()
        name = secrets.token_hex(8)
        self._note(f"{zone.folder.name}/{name}", True)
        folders = TaskFolders(zone, name, -1)
        for folder in (folders.read, folders.write, folders.out, folders.tmp):
            folder.mkdir(mode=0o700)
        descriptor = os.open(folders.out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return TaskFolders(zone, name, descriptor)

    def remove(self, folders: TaskFolders) -> None:
        """Remove a task's folders, whatever the function made of them."""
        os.close(folders.outputs)
        remove_tree(folders.read)
        remove_tree(folders.write)
        self._note(f"{folders.zone.folder.name}/{folders.name}", False)

    def remove_soon(self, folders: TaskFolders) -> None:
        """Remove them while the result is on its way: a third of a short task's time otherwise."""
        self._remover = threading.Thread(target=self.remove, args=(folders,), name="remover")
        self._remover.start()

    def close(self) -> None:
        self._settle()
        os.close(self._claim)

    def _note(self, name: str, taken: bool) -> None:
        """The claim's file names all that is ours, and for a moment more."""
        with self._claiming:
            (self._claimed.add if taken else self._claimed.discard)(name)
            text = "".join(f"{claimed}\n" for claimed in sorted(self._claimed)).encode()
            os.pwrite(self._claim, text, 0)
            os.ftruncate(self._claim, len(text))

    def _settle(self) -> None:
        if self._remover is not None:
            self._remover.join()
            self._remover = None

    def _remove_orphans(self, session: str) -> None:
        for claim in self._claims.iterdir():
            if claim.name == session:
                continue
            descriptor = os.open(claim, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for line in os.read(descriptor, _CLAIM_BYTES).decode().splitlines():
                    zone, _, name = line.partition("/")
                    if zone and name and ".." not in (zone, name):
                        remove_tree(self.base / zone / "r" / name)
                        remove_tree(self.base / zone / "w" / name)
                claim.unlink(missing_ok=True)
            except BlockingIOError:
                continue  # its runner lives
            finally:
                os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove a tree that its user may have shut with modes, or replaced by a link (which is not followed)."""
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            folder.unlink()
            return
        try:
            shutil.rmtree(folder)
        except PermissionError:
            _open_up(folder)
            shutil.rmtree(folder)
    except FileNotFoundError:
        return


def _open_up(folder: Path) -> None:
    folder.chmod(0o700)
    waiting = [folder]
    while waiting:
        for entry in os.scandir(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                Path(entry.path).chmod(0o700)
                waiting.append(Path(entry.path))
