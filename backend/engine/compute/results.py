"""A runner's result: read as untrusted, checked against the task, turned into what is committed.

The runner judges from files, we judge from the runner's words and the files below its outbox (rule 16).
"""

import hashlib
import math
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field

from backend.engine.compute.decisions import is_performance

MOST_LOG = 3 * 1024 * 1024
LOG = "log"
"""The log's name among what a pod sends: no output's is so short."""
MOST_US = 2**53
STEPS = ("prepare_inputs", "task_execution", "save_outputs")
Category = Literal["EXECUTION", "INTERNAL"]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Failure(_Wire):
    category: Category
    reason: str = Field(default="", max_length=10_000)


class Output(_Wire):
    identifier: str = Field(max_length=100)
    kind: Literal["ASSET_MODEL", "ASSET_PERFORMANCE"]
    path: str | None = None
    checksum: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    size: int | None = Field(default=None, ge=0)
    value: float | None = None


class Result(_Wire):
    """What a runner sends (the runner protocol)."""

    task: UUID
    lock_token: str = Field(max_length=32)
    exit: int | None = None
    failure: Failure | None = None
    outputs: list[Output] = Field(default_factory=list, max_length=10_000)
    log: str | None = None
    steps: dict[str, float] = Field(default_factory=dict)
    profile: dict[str, Any] = Field(default_factory=dict)

    @property
    def start(self) -> str:
        """How the function was started, by one of four words whatever the runner says."""
        start = self.profile.get("start")
        return start if start in ("zygote", "cold", "pod") else "unknown"


class AcceptedModel(BaseModel):
    identifier: str
    key: UUID
    source: str  # absolute path below the outbox, or a storage key where a pod put it
    file: str  # storage key
    checksum: str
    size: int


class AcceptedPerformance(BaseModel):
    """`value` is text: JSON has no NaN."""

    identifier: str
    value: str


class AcceptedLog(BaseModel):
    source: str | None  # as a model's; None: the log is empty, or is there
    file: str
    checksum: str
    size: int


class AcceptedChainkeys(BaseModel):
    source: str  # a folder below the outbox
    target: str  # the plan's own


class Accepted(BaseModel):
    """What the outbox row holds: all that reporting needs, whatever dies meanwhile.

    `executing`: the ledger was told that the task runs; a failure found before that says it first.
    """

    models: list[AcceptedModel] = Field(default_factory=list)
    performances: list[AcceptedPerformance] = Field(default_factory=list)
    failure: Category | None = None
    reason: str = ""
    log: AcceptedLog | None = None
    kept: str | None = None  # the log of a success, below the outbox
    chainkeys: AcceptedChainkeys | None = None
    executing: bool = True
    arrived: str | None = None  # the storage's folder with what a pod sent, gone once all is told


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a pod has put into the storage for its lease: sizes by name, the log's text if it is wanted."""

    folder: str
    sizes: dict[str, int]
    log: bytes | None = None

    def file(self, name: str) -> str:
        return f"{self.folder}/{name}"


def arrival_name(identifier: str) -> str:
    """The name under which a pod sends an output, whose identifier may be any text."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:32]


def steps_of(result: Result, brought_us: int = 0) -> dict[str, int]:
    """Microseconds by step (compute.md 7). `brought_us`: what ring 1 spent on the inputs before the lease."""
    steps = {
        name: int(min(max(duration, 0), MOST_US))
        for name in STEPS
        if math.isfinite(duration := result.steps.get(name, math.nan))
    }
    if brought_us and STEPS[0] in steps:
        steps[STEPS[0]] += brought_us
    return steps


class Unacceptable(Exception):
    """The result does not fit the task: its text is the reason of an INTERNAL failure."""


def model_key(task: UUID, identifier: str, index: int) -> UUID:
    """The same result always gets the same keys (rule 1)."""
    return uuid5(task, f"{identifier}/{index}")


def model_file(key: UUID) -> str:
    """Where the storage keeps a model."""
    return f"models/{key}/model"


def log_file(asset: UUID) -> str:
    """Where the storage keeps a log."""
    return f"logs/{asset}/log"


def accept(
    result: Result,
    slots: list[dict[str, Any]],
    outbox: Path,
    *,
    most_log: int = MOST_LOG,
    chainkeys: str | None = None,
    arrived: Arrived | None = None,
) -> Accepted:
    """The result as it is committed.

    `slots` are the `outputs` of the lease: identifier, kind, multiple; `chainkeys` are the plan's, if the
    lease had them. `most_log`: bytes of a log. `arrived` is what a pod has sent, which has no outbox.

    Raises:
        Unacceptable: something is missing, too much, or not where it has to be.
    """
    folder = outbox / str(result.task) / result.lock_token
    if result.failure is not None:
        log = None
        if result.failure.category == "EXECUTION":
            log = _log(result, folder, most_log) if arrived is None else _sent_log(result, arrived)
        return Accepted(
            failure=result.failure.category,
            reason=result.failure.reason,
            log=log,
            arrived=arrived.folder if arrived else None,
        )
    declared = {slot["identifier"]: slot for slot in slots}
    accepted = Accepted(
        kept=_kept(result, folder, most_log) if arrived is None else None,
        arrived=arrived.folder if arrived else None,
    )
    counts = dict.fromkeys(declared, 0)
    for output in result.outputs:
        slot = declared.get(output.identifier)
        if slot is None or slot["kind"] != output.kind:
            raise Unacceptable(
                f"the task has no output {output.identifier!r} of kind {output.kind}"
            )
        index = counts[output.identifier]
        counts[output.identifier] += 1
        if index and not slot["multiple"]:
            raise Unacceptable(f"more than one asset for output {output.identifier!r}")
        if output.kind == "ASSET_MODEL":
            place = folder if arrived is None else arrived
            accepted.models.append(_model(result.task, index, output, place))
        elif is_performance(output.value):
            value = repr(output.value)
            accepted.performances.append(
                AcceptedPerformance(identifier=output.identifier, value=value)
            )
        else:
            raise Unacceptable(f"the performance {output.identifier!r} is not a number")
    missing = [name for name, count in counts.items() if not count]
    if missing:
        raise Unacceptable(f"outputs are missing: {', '.join(sorted(missing))}")
    if chainkeys is not None:
        accepted.chainkeys = _chainkeys(folder, chainkeys)
    return accepted


def _chainkeys(folder: Path, target: str) -> AcceptedChainkeys:
    """The folder that the runner filled: regular files and nothing else."""
    source = folder / "chainkeys"
    try:
        whole = stat.S_ISDIR(source.lstat().st_mode)
        plain = all(stat.S_ISREG(file.lstat().st_mode) for file in source.iterdir())
    except OSError:
        raise Unacceptable("the chainkeys did not come back") from None
    if not whole or not plain:
        raise Unacceptable("the chainkeys are no folder of files")
    return AcceptedChainkeys(source=str(source), target=target)


def _model(task: UUID, index: int, output: Output, place: Path | Arrived) -> AcceptedModel:
    if output.checksum is None:
        raise Unacceptable(f"the model {output.identifier!r} has no checksum")
    if isinstance(place, Arrived):
        name = arrival_name(output.identifier)
        source, size = place.file(name), place.sizes.get(name, -1)
        if size < 0:
            raise Unacceptable(f"the model {output.identifier!r} did not arrive")
    elif output.path is None:
        raise Unacceptable(f"the model {output.identifier!r} has no path")
    else:
        path, size = _file(output.path, place)
        source = str(path)
    if output.size is not None and output.size != size:
        raise Unacceptable(f"the model {output.identifier!r} has another size than said")
    key = model_key(task, output.identifier, index)
    return AcceptedModel(
        identifier=output.identifier,
        key=key,
        source=source,
        file=model_file(key),
        checksum=output.checksum,
        size=size,
    )


def _kept(result: Result, folder: Path, most: int) -> str | None:
    """The log of a success, if it says anything; a strange one is no reason to fail."""
    if result.log is None:
        return None
    try:
        path, size = _file(result.log, folder)
    except Unacceptable:
        return None
    return str(path) if 0 < size <= most else None


def _log(result: Result, folder: Path, most: int) -> AcceptedLog:
    """The log of a failed function; its digest is computed here, over what will be stored."""
    target = log_file(result.task)
    if result.log is None:
        return AcceptedLog(source=None, file=target, checksum=hashlib.sha256().hexdigest(), size=0)
    path, size = _file(result.log, folder)
    if size > most:
        raise Unacceptable("the log is larger than allowed")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return AcceptedLog(source=str(path), file=target, checksum=digest, size=size)


def _sent_log(result: Result, arrived: Arrived) -> AcceptedLog:
    """The log that a pod sent; one that did not arrive is an empty one."""
    content = arrived.log or b""
    return AcceptedLog(
        source=arrived.file(LOG) if arrived.log else None,
        file=log_file(result.task),
        checksum=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


def _file(name: str, folder: Path) -> tuple[Path, int]:
    """A regular file below the folder of this lease in the outbox, reached without any link."""
    try:
        path = Path(name)
        status = path.lstat()
        inside = path.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    except (OSError, ValueError):
        raise Unacceptable("an output file is not there") from None
    if not inside or not stat.S_ISREG(status.st_mode):
        raise Unacceptable("an output is not a regular file of this lease's outbox")
    return path.resolve(), status.st_size
