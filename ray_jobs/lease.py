"""A lease: one task as the API hands it out, and names that are safe as files."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

MODEL = "ASSET_MODEL"
PERFORMANCE = "ASSET_PERFORMANCE"
SAMPLE = "ASSET_DATA_SAMPLE"
OPENER = "ASSET_DATA_MANAGER"
_LONGEST_FILE_NAME = 200


def file_name(identifier: str) -> str:
    """`identifier` as one path component: what users call their outputs may hold slashes or dots only."""
    quoted = quote(identifier, safe=" ").lstrip(".")
    if quoted and len(quoted) <= _LONGEST_FILE_NAME and quote(identifier, safe=" ") == quoted:
        return quoted
    return hashlib.sha256(identifier.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Environment:
    """A function's image on this machine. `workdir`, `env` and `entrypoint` hold image paths."""

    key: str
    root: Path  # read-only file tree
    layers: tuple[Path, ...]  # copied on top, writable
    python: Path
    base_prefix: Path
    workdir: str
    env: dict[str, str]
    entrypoint: tuple[str, ...]

    @classmethod
    def parse(cls, value: dict[str, Any]) -> Self:
        return cls(
            key=str(value["key"]),
            root=Path(value["root"]),
            layers=tuple(Path(layer) for layer in value["layers"]),
            python=Path(value["python"]),
            base_prefix=Path(value["base_prefix"]),
            workdir="/" + str(value.get("workdir") or "/").strip("/"),
            env={str(name): str(text) for name, text in dict(value.get("env") or {}).items()},
            entrypoint=tuple(str(word) for word in value["entrypoint"]),
        )


@dataclass(frozen=True, slots=True)
class Input:
    identifier: str
    kind: str
    key: str
    path: Path
    multiple: bool


@dataclass(frozen=True, slots=True)
class Output:
    identifier: str
    kind: str


@dataclass(frozen=True, slots=True)
class Lease:
    task: str
    lock_token: str
    function: str
    rank: int
    timeout_s: float  # 0: none
    environment: Environment
    inputs: tuple[Input, ...]  # in the task's order
    outputs: tuple[Output, ...]
    cpus: float = 0.0  # 0: all of the machine's
    memory_bytes: int = 0  # 0: no limit of this task's own
    gpus: float = 0.0
    title: str = ""  # for people: function, organization, plan, rank
    chainkeys: Path | None = None  # the plan's folder of them (compute.md 6)
    variables: dict[str, str] = field(default_factory=dict)  # of the site, beside the image's ENV

    @classmethod
    def parse(cls, value: dict[str, Any]) -> Self:
        """From the API's JSON. Raises KeyError, TypeError or ValueError when something is missing."""
        resources = value.get("resources") or {}
        return cls(
            task=str(value["task"]),
            lock_token=str(value["lock_token"]),
            function=str(value["function"]),
            rank=int(value["rank"]),
            timeout_s=float(value.get("timeout_s") or 0),
            environment=Environment.parse(value["environment"]),
            inputs=tuple(
                Input(i["identifier"], i["kind"], i["key"], Path(i["path"]), bool(i["multiple"]))
                for i in value["inputs"]
            ),
            outputs=tuple(Output(o["identifier"], o["kind"]) for o in value["outputs"]),
            cpus=float(resources.get("cpus") or 0),
            memory_bytes=int(resources.get("memory_bytes") or 0),
            gpus=float(resources.get("gpus") or 0),
            title=str(value.get("title") or ""),
            chainkeys=Path(value["chainkeys"]) if value.get("chainkeys") else None,
            variables={str(name): str(text) for name, text in _given(value, "variables").items()},
        )


def _given(value: dict[str, Any], name: str) -> dict[str, Any]:
    return dict(value.get(name) or {})
