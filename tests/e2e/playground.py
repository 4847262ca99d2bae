"""A few lines to write a plan: data, functions and tasks of small tests, through the real SDK.

Works with any kind of client, so the benchmark runs the same plans in the SDK's local mode.
"""

import io
import json
import sys
import tarfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import substra
from substra.sdk.models import ComputePlan
from substra.sdk.schemas import (
    AssetKind,
    ComputePlanSpec,
    ComputePlanTaskSpec,
    ComputeTaskOutputSpec,
    DataSampleSpec,
    DatasetSpec,
    FunctionInputSpec,
    FunctionOutputSpec,
    FunctionSpec,
    InputRef,
    Permissions,
    UpdateComputePlanTasksSpec,
)

from tests.e2e.waiting import wait_for

ASSETS = Path(__file__).with_name("assets")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
DOCKERFILE = """FROM python:{python}-slim
RUN python -m pip install substratools
{extra}COPY function* .
ENTRYPOINT {words}
"""

DATA = {
    "opener": (AssetKind.data_manager, False, False),
    "datasamples": (AssetKind.data_sample, False, True),
}
ONE_MODEL = {"shared": (AssetKind.model, True, False)}
MANY_MODELS = {"shared": (AssetKind.model, False, True)}
MODEL_OUT = {"shared": AssetKind.model}
# name -> inputs {identifier: (kind, optional, multiple)}, outputs {identifier: kind}
SIGNATURES: dict[str, tuple[dict[str, Any], dict[str, AssetKind]]] = {
    "add": (DATA | ONE_MODEL, MODEL_OUT),
    "aggregate": (MANY_MODELS, MODEL_OUT),
    "evaluate": (
        DATA | ONE_MODEL,
        {"score": AssetKind.performance, "count": AssetKind.performance},
    ),
    "order": (DATA, MODEL_OUT),
    "fail": (DATA, MODEL_OUT),
    "linger": (DATA | ONE_MODEL, MODEL_OUT),
    "home": (DATA, MODEL_OUT),
    "snoop": (DATA, MODEL_OUT),
    "reach": (DATA, MODEL_OUT),
}


def archive(folder: Path, name: str, extra: str = "", words: Sequence[str] = ()) -> Path:
    """The tar.gz of one function; `extra` are more Dockerfile lines, each ended by a newline.

    `words`: another entry point than the function of this name in assets/function.py.
    """
    entrypoint = json.dumps([*(words or ("python3", "function.py", "--function-name", name))])
    dockerfile = DOCKERFILE.format(python=PYTHON, extra=extra, words=entrypoint).encode()
    path = folder / f"{name}-{uuid.uuid4().hex[:8]}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for file in sorted(ASSETS.glob("function*")):
            tar.add(file, arcname=file.name)
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        tar.addfile(entry, io.BytesIO(dockerfile))
    return path


def _sees(client: substra.Client, kind: str, key: str) -> bool:
    try:
        getattr(client, f"get_{kind}")(key)
    except substra.exceptions.NotFound:
        return False
    return True


@dataclass(frozen=True)
class Data:
    """A dataset with its samples, as a task refers to them."""

    dataset: str
    samples: list[str]

    def inputs(self, samples: Sequence[str] | None = None) -> list[InputRef]:
        return [
            InputRef(identifier="opener", asset_key=self.dataset),
            *(
                InputRef(identifier="datasamples", asset_key=key)
                for key in (samples or self.samples)
            ),
        ]


def output_of(task: ComputePlanTaskSpec, identifier: str = "shared") -> InputRef:
    """The model of an earlier task as the input `shared` of the next."""
    return InputRef(
        identifier="shared",
        parent_task_key=task.task_id,
        parent_task_output_identifier=identifier,
    )


@dataclass
class Playground:
    """Clients of all organizations, a folder for uploads, and the functions registered so far."""

    clients: list[substra.Client]
    folder: Path
    organizations: list[str] = field(init=False)  # MSP ids, in the order of the clients
    _functions: dict[tuple[str, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.organizations = [
            str(client.organization_info().organization_id) for client in self.clients
        ]

    def permissions(self, *members: int) -> Permissions:
        """For these organizations (by index); none means everybody."""
        ids = [self.organizations[index] for index in members]
        return Permissions(public=not members, authorized_ids=ids)

    def function(self, name: str, owner: int = 0, **options: Any) -> str:
        """Key of a function of assets/function.py, registered at its first use."""
        if options:
            return self.register(name, owner, **options)
        if (name, owner) not in self._functions:
            self._functions[name, owner] = self.register(name, owner)
        return self._functions[name, owner]

    def register(
        self,
        name: str,
        owner: int = 0,
        *,
        extra: str = "",
        words: Sequence[str] = (),
        permissions: Permissions | None = None,
    ) -> str:
        description = self.folder / "function.md"
        description.write_text(f"# {name}\n", "utf-8")
        inputs, outputs = SIGNATURES[name]
        key = str(
            self.clients[owner].add_function(
                FunctionSpec(
                    name=name,
                    description=description,
                    file=archive(self.folder, name, extra, words),
                    permissions=permissions or self.permissions(),
                    inputs=[
                        FunctionInputSpec(
                            identifier=key, kind=kind, optional=optional, multiple=multiple
                        )
                        for key, (kind, optional, multiple) in inputs.items()
                    ],
                    outputs=[
                        FunctionOutputSpec(identifier=key, kind=kind, multiple=False)
                        for key, kind in outputs.items()
                    ],
                )
            )
        )
        self._seen_by_all("function", key)
        return key

    def data(
        self,
        contents: Sequence[Any],
        owner: int = 0,
        *,
        permissions: Permissions | None = None,
        logs: Permissions | None = None,
    ) -> Data:
        """A dataset with one sample for each content (JSON values)."""
        description = self.folder / "dataset.md"
        description.write_text("# Contents\n", "utf-8")
        client = self.clients[owner]
        dataset = client.add_dataset(
            DatasetSpec(
                name="contents",
                data_opener=ASSETS / "opener.py",
                description=description,
                permissions=permissions or self.permissions(),
                logs_permission=logs or self.permissions(),
            )
        )
        folders = []
        for content in contents:
            folders.append(self.folder / uuid.uuid4().hex)
            folders[-1].mkdir()
            (folders[-1] / "content.json").write_text(json.dumps(content), "utf-8")
        samples = client.add_data_samples(
            DataSampleSpec(data_manager_keys=[dataset], paths=folders)
        )
        self._seen_by_all("dataset", str(dataset))
        for key in samples:
            self._seen_by_all("data_sample", str(key))
        return Data(dataset=str(dataset), samples=[str(key) for key in samples])

    def _seen_by_all(self, kind: str, key: str) -> None:
        """Wait until every organization's backend has the ledger's event about the asset."""
        for client in self.clients:
            wait_for(partial(_sees, client, kind, key), f"{kind} {key} is seen by all")

    def task(
        self,
        function: str,
        inputs: Sequence[InputRef],
        worker: int = 0,
        *,
        outputs: Sequence[str] = ("shared",),
        permissions: Permissions | None = None,
        transient: bool = False,
        metadata: dict[str, str] | None = None,
    ) -> ComputePlanTaskSpec:
        """One task, to run at `worker`; its models are for everybody unless said otherwise."""
        return ComputePlanTaskSpec(
            task_id=str(uuid.uuid4()),
            function_key=function,
            worker=self.organizations[worker],
            inputs=list(inputs),
            outputs={
                key: ComputeTaskOutputSpec(
                    permissions=permissions or self.permissions(), transient=transient
                )
                for key in outputs
            },
            metadata=metadata,
        )

    def chain(
        self, length: int, data: Sequence[Data], name: str = "add"
    ) -> list[ComputePlanTaskSpec]:
        """Tasks one after the other, going round the organizations that `data` belong to."""
        tasks: list[ComputePlanTaskSpec] = []
        for index in range(length):
            worker = index % len(data)
            before = [output_of(tasks[-1])] if tasks else []
            tasks.append(self.task(self.function(name), [*data[worker].inputs(), *before], worker))
        return tasks

    def submit(
        self, tasks: Sequence[ComputePlanTaskSpec], client: int = 0, **options: Any
    ) -> ComputePlan:
        spec = ComputePlanSpec(name=options.pop("name", "a plan"), tasks=list(tasks), **options)
        return self.clients[client].add_compute_plan(spec)

    def extend(self, plan: ComputePlan, tasks: Sequence[ComputePlanTaskSpec]) -> ComputePlan:
        """Add tasks to a submitted plan."""
        spec = UpdateComputePlanTasksSpec(key=plan.key, tasks=list(tasks))
        return self.clients[0].add_compute_plan_tasks(plan.key, spec)

    def finish(
        self, plan: ComputePlan, timeout_s: float = 120.0, every_s: float = 0.05
    ) -> ComputePlan:
        """Wait for the plan's end, however it ends."""
        return self.clients[0].wait_compute_plan(
            plan.key, timeout=timeout_s, polling_period=every_s, raise_on_failure=False
        )

    def run(
        self,
        tasks: Sequence[ComputePlanTaskSpec],
        timeout_s: float = 120.0,
        every_s: float = 0.05,
    ) -> ComputePlan:
        return self.finish(self.submit(tasks), timeout_s, every_s)

    def model(
        self, task: ComputePlanTaskSpec, client: int = 0, identifier: str = "shared"
    ) -> dict[str, Any]:
        """The content of a task's model, downloaded as a user of organization `client`."""
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        path = self.clients[client].download_model_from_task(
            task.task_id, identifier=identifier, folder=folder
        )
        content: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
        return content
