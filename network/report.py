"""What the supervisor wrote about its processes, and from it the rows of `status`."""

import json
from dataclasses import dataclass, field
from typing import Any, Self

from network.layout import Layout
from network.processes import ProcessId


@dataclass(frozen=True, slots=True)
class Row:
    """One process that the supervisor keeps."""

    name: str
    role: str
    organization: str | None
    process: ProcessId | None
    healthy: bool
    restarts: int = 0
    last_exit: int | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """One actor on the network's Ray."""

    name: str
    kind: str
    pid: int


@dataclass(frozen=True, slots=True)
class Report:
    phase: str = "down"
    supervisor: ProcessId | None = None
    rows: list[Row] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)

    @classmethod
    def read(cls, layout: Layout) -> Self:
        """The last report; an empty one when there is none."""
        try:
            content = json.loads(layout.processes_file.read_text("utf-8"))
            return cls(
                phase=content["phase"],
                supervisor=_process(content["supervisor"]),
                rows=[_row(row) for row in content["processes"]],
                actors=[Actor(row["name"], row["class"], row["pid"]) for row in content["actors"]],
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return cls()


def _process(pair: list[Any] | None) -> ProcessId | None:
    return None if pair is None else ProcessId(int(pair[0]), float(pair[1]))


def _row(row: dict[str, Any]) -> Row:
    process = None if row["pid"] is None else ProcessId(row["pid"], row["started"])
    healthy = bool(row["healthy"]) and (row["done"] or (process is not None and process.alive()))
    return Row(
        row["name"],
        row["role"],
        row["organization"],
        process,
        healthy,
        row["restarts"],
        row.get("last_exit"),
    )
