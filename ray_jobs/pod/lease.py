"""A lease in the cluster: the task as everywhere (rule 36), with presigned addresses in place of paths.

inputs:      {…, "url": GET, "checksum"?: SHA-256 hex, "salt"?: text, "form": "file" | "tar"}
outputs:     {…, "url"?: PUT of a model's bytes}
log_url?:    PUT of the log
environment: {"image": "<repository>@sha256:…", "workdir", "env", "entrypoint"}
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ray_jobs.lease import Environment, Input, Lease, Output


@dataclass(frozen=True, slots=True)
class Download:
    url: str
    checksum: str | None
    salt: str
    packed: bool  # a tar, to become a folder


@dataclass(frozen=True, slots=True)
class PodLease:
    """`task` is the lease as the rest of the runner knows it; its inputs have no path yet."""

    task: Lease
    downloads: tuple[Download, ...]  # one for each input
    uploads: dict[str, str]  # output identifier -> address
    log_url: str | None

    @classmethod
    def parse(cls, value: dict[str, Any]) -> Self:
        """From the API's JSON. Raises KeyError, TypeError or ValueError when something is missing."""
        image = value["environment"]
        environment = Environment(
            key=str(image["image"]),
            root=Path("/"),
            layers=(),
            python=Path("python3"),
            base_prefix=Path("/"),
            workdir=str(image.get("workdir") or "/"),
            env={str(name): str(text) for name, text in dict(image.get("env") or {}).items()},
            entrypoint=tuple(str(word) for word in image["entrypoint"]),
        )
        resources = value.get("resources") or {}
        task = Lease(
            task=str(value["task"]),
            lock_token=str(value["lock_token"]),
            function=str(value["function"]),
            rank=int(value["rank"]),
            timeout_s=float(value.get("timeout_s") or 0),
            environment=environment,
            inputs=tuple(
                Input(i["identifier"], i["kind"], i["key"], Path(), bool(i["multiple"]))
                for i in value["inputs"]
            ),
            outputs=tuple(Output(o["identifier"], o["kind"]) for o in value["outputs"]),
            memory_bytes=int(resources.get("memory_bytes") or 0),
        )
        return cls(
            task,
            tuple(
                Download(
                    str(i["url"]),
                    i.get("checksum"),
                    str(i.get("salt") or ""),
                    i.get("form") == "tar",
                )
                for i in value["inputs"]
            ),
            {o["identifier"]: str(o["url"]) for o in value["outputs"] if o.get("url")},
            value.get("log_url"),
        )
