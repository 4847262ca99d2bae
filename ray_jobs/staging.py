"""Prepare a task's folders: root, inputs, arguments file, and the policy of the function's process.

How inputs become visible (rule 15). A function started cold has walls of its own, so its inputs are symbolic
links to the originals, which its policy names read-only: nothing is copied, whatever their size. A zygote's
children can only have narrower walls than the zygote, which must not see the organization's files; their
inputs are reflinks or else hard links in the task's folder below `r`, which is read-only for the zygote
already. The originals stay safe: opening for write, truncating and linking elsewhere are refused there by
Landlock (LANDLOCK_ACCESS_FS_REFER is not granted on `r`) or by a read-only mount; changes of mode, times and
attributes by that mount, or by the filter answering 0 without effect. Where there is neither wall, or no link
can be made, a task starts cold, and without any wall at all it gets copies.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_jobs.command import Command, command
from ray_jobs.lease import (
    MODEL,
    OPENER,
    PERFORMANCE,
    SAMPLE,
    Environment,
    Input,
    Lease,
    Output,
    file_name,
)
from ray_jobs.root import clone, compose, copy, home, located, variables
from ray_jobs.scratch import TaskFolders
from ray_jobs.session import Session
from ray_jobs.shares import Share

_MOST_LINKS = 4096  # files; a link costs about 15 µs, a cold start 50 ms and its imports


class CannotLink(Exception):
    """Inputs are on another file system, or too many files, or not ours to link."""


class MissingInput(Exception):
    """An input that the lease names is not there."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A task ready to start."""

    command: Command
    directory: str
    environment: dict[str, str]
    policy: dict[str, Any]

    def request(self, argv: tuple[str, ...]) -> dict[str, Any]:
        """What the per-task parent is told."""
        return {
            "argv": argv,
            "directory": self.directory,
            "environment": self.environment,
            "policy": self.policy,
        }


def output_file(output: Output) -> str:
    """The name below `out` of a declared output."""
    name = file_name(output.identifier)
    return f"{name}-perf.json" if output.kind == PERFORMANCE else f"{name}.model"


def stage(
    lease: Lease,
    folders: TaskFolders,
    way: str,
    session: Session,
    share: Share,
    beside: Sequence[tuple[str, Path]] = (),
    composed: bool = False,
) -> Staged:
    """Fill the task's folders.

    `way` is how inputs enter: "links" (for a zygote's children), "in place" or "copies". `beside` are inputs
    that are where the function sees them already: identifier and path. `composed`: the root stands already.

    Raises:
        CannotLink: `way` is "links" and some input can't be; the folders are to be thrown away.
        MissingInput, OSError: as it says.
    """
    environment = lease.environment
    if not composed:
        compose(folders.root, environment)
    places, visible = _expose(lease.inputs, folders.read, way)
    arguments = folders.read / "arguments.txt"
    arguments.write_text(_arguments(lease, places, folders.out, beside), "utf-8")
    variables_ = {**variables(environment, folders.root), **lease.variables}
    variables_.update(
        HOME=located(home(environment), environment, folders.root)
        if home(environment) != "/"
        else str(folders.root),
        TMPDIR=str(folders.tmp),
    )
    variables_.update(share.variables(variables_))
    for name in ("USER", "LOGNAME"):
        variables_.setdefault(name, "user")  # there is no user database to ask
    return Staged(
        command=command(environment, folders.root, arguments),
        directory=str(folders.root / environment.workdir.strip("/")),
        environment=variables_,
        policy=policy_of(environment, folders, visible, own_limits(lease), session, share),
    )


def policy_of(
    environment: Environment,
    folders: TaskFolders,
    visible: Sequence[str],
    limits: dict[str, int],
    session: Session,
    share: Share,
) -> dict[str, Any]:
    """What the function's process is confined to; `limits` are its own, beyond those of the session."""
    return {
        "read": [str(folders.read), *visible],
        "execute": [
            str(environment.root),
            os.path.realpath(environment.root),
            str(environment.base_prefix),
        ],
        "write": [str(folders.write)],  # one mount: files can be renamed from tmp to out
        "network": "none",
        "limits": {**session.limits, **limits},
        "mounts": session.mount_wall,
        "tmp": str(folders.tmp),
        "shared_memory_bytes": session.shared_memory_bytes,
        "cpus": list(share.cpus),
        "devices": list(share.devices),
        "own_processes": True,
        "user": f"{session.run_folder} {session.session}",
    }


def own_limits(lease: Lease) -> dict[str, int]:
    """What this task may use, where it says so."""
    return {"memory_bytes": lease.memory_bytes} if lease.memory_bytes else {}


def _expose(inputs: tuple[Input, ...], read: Path, way: str) -> tuple[list[Path], list[str]]:
    """Where each input is for the function, and the paths outside of `read` that it must see for that."""
    places: list[Path] = []
    visible: list[str] = []
    done: set[Path] = set()
    budget = _MOST_LINKS
    for asset in inputs:
        place = _place(asset, read)
        places.append(place)
        if place in done:
            continue
        done.add(place)
        if not asset.path.exists():
            raise MissingInput(f"{asset.kind} {asset.key}")
        place.parent.mkdir(parents=True, exist_ok=True)
        if way == "in place":
            target = asset.path.resolve()
            place.symlink_to(target)
            visible.append(str(target))
        else:
            budget = _enter(asset.path, place, way == "links", budget)
    return places, visible


def _place(asset: Input, read: Path) -> Path:
    key = file_name(asset.key)
    if asset.kind == MODEL:
        return read / "in_models" / key
    if asset.kind == OPENER:
        return read / "openers" / key / "__init__.py"
    if asset.kind == SAMPLE:
        return read / "data_samples" / key
    raise MissingInput(f"{asset.kind} cannot be an input")


def _enter(source: Path, place: Path, link: bool, budget: int) -> int:
    """Reflink, link or copy a file or tree; returns what is left of the number of files allowed."""
    if source.is_dir():
        place.mkdir()
        for entry in sorted(source.iterdir()):
            if entry.is_symlink():
                (place / entry.name).symlink_to(entry.readlink())
            else:
                budget = _enter(entry, place / entry.name, link, budget)
        return budget
    if not link:
        copy(source, place)
        return budget
    if budget == 0:
        raise CannotLink("too many files")
    try:
        if not clone(source, place):
            os.link(source, place)
    except OSError as error:
        raise CannotLink(str(error)) from error
    return budget - 1


def _arguments(
    lease: Lease, places: list[Path], out: Path, beside: Sequence[tuple[str, Path]] = ()
) -> str:
    """The arguments file: one argument a line (compute.md 3.8).

    No JSON escapes: substratools turns backslashes into slashes (12.5), which would damage a name or a path
    that is not ASCII; so it stays itself, in UTF-8.
    """
    inputs = [
        {"id": asset.identifier, "value": str(place), "multiple": asset.multiple}
        for asset, place in zip(lease.inputs, places, strict=True)
    ]
    inputs += [
        {"id": identifier, "value": str(place), "multiple": False} for identifier, place in beside
    ]
    outputs = [
        {"id": output.identifier, "value": str(out / output_file(output)), "multiple": False}
        for output in lease.outputs
    ]
    lines = ["--task-properties", json.dumps({"rank": lease.rank})]
    lines += ["--inputs", json.dumps(inputs, ensure_ascii=False)]
    lines += ["--outputs", json.dumps(outputs, ensure_ascii=False)]
    return "\n".join(lines) + "\n"
