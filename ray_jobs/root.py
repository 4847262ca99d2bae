"""The task's root (rule 37): a fresh file tree in which only the environment is shared, and read-only."""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from ray_jobs.lease import Environment

_FICLONE = 0x40049409
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
_no_reflinks: set[int] = set()  # devices that have refused once


def clone(source: Path, target: Path) -> bool:
    """Make `target` a reflink of the file `source`; False where the file system has none."""
    device = source.stat().st_dev
    if device in _no_reflinks:
        return False
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            _no_reflinks.add(device)
        else:
            return True
    target.unlink()
    return False


def copy(source: Path, target: Path) -> None:
    """An independent copy of a file, mode kept and writable: a reflink, else bytes moved in the kernel."""
    if not clone(source, target):
        shutil.copyfile(source, target)
    target.chmod(stat.S_IMODE(source.stat().st_mode) & 0o777 | 0o600)


def home(environment: Environment) -> str:
    """The image path of HOME: what the image says, else its WORKDIR."""
    given = environment.env.get("HOME", "")
    return given if given.startswith("/") else environment.workdir


def compose(target: Path, environment: Environment) -> None:
    """Build the root at `target`, which doesn't exist yet.

    Folders that upper layers, WORKDIR or HOME write into are real; everything else of the environment
    enters as a symbolic link to its read-only tree. Upper layers' files are copied.
    """
    real = {""}
    for path in (environment.workdir, home(environment)):
        _with_parents(path.strip("/"), real)
    for layer in environment.layers:
        for folder, _files, _links in _walk(layer):
            _with_parents(folder, real)
    _link_below(target, environment.root, "", real)
    for folder in sorted(real):
        (target / folder).mkdir(parents=True, exist_ok=True)
    for layer in environment.layers:
        for folder, files, links in _walk(layer):
            for name in (*files, *links):
                place = target / folder / name
                with contextlib.suppress(FileNotFoundError):
                    place.unlink()
                if name in links:
                    place.symlink_to((layer / folder / name).readlink())
                else:
                    copy(layer / folder / name, place)


def _with_parents(folder: str, real: set[str]) -> None:
    path = Path(folder)
    if ".." in path.parts:
        raise ValueError(f"{folder} leaves the root")
    real.update(str(p) for p in (path, *path.parents) if str(p) != ".")


def _walk(layer: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder below `layer` (relative, "" first) with its regular files and its links."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        files, links = [], []
        with os.scandir(layer / folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    links.append(entry.name)
                elif entry.is_dir():
                    waiting.append(f"{folder}/{entry.name}" if folder else entry.name)
                elif entry.is_file():
                    files.append(entry.name)
        yield folder, files, links


def _link_below(target: Path, root: Path, folder: str, real: set[str]) -> None:
    place = target / folder
    place.mkdir(mode=0o700)
    try:
        entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        return
    for entry in entries:
        below = f"{folder}/{entry.name}" if folder else entry.name
        if below in real:
            _link_below(target, root, below, real)
        else:
            (place / entry.name).symlink_to(entry.path)


def located(path: str, environment: Environment, root: Path) -> str:
    """The image path `path` on this machine, below `root`, or itself where the image doesn't hold it."""
    relative = os.path.normpath(path).lstrip("/")
    holders = (environment.root, *environment.layers)
    workdir = environment.workdir.strip("/")
    ours = relative == workdir or (workdir and relative.startswith(workdir + "/"))
    if relative and (ours or any(os.path.lexists(holder / relative) for holder in holders)):
        return str(root / relative)
    return path


def variables(environment: Environment, root: Path) -> dict[str, str]:
    """The image's ENV with its paths below `root`, PATH and a locale as the usual base images have them."""
    given = {"PATH": _SYSTEM_PATH, "LANG": "C.UTF-8", **environment.env}
    mapped = {}
    for name, value in given.items():
        parts = value.split(":") if "://" not in value else [value]
        mapped[name] = ":".join(
            located(part, environment, root) if part.startswith("/") else part for part in parts
        )
    return mapped
