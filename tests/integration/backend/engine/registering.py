"""Registering functions, plans and tasks on a real ledger, as two organizations."""

import hashlib
from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

from backend.ports.ledger.client import ChannelLedger
from protos.orchestrator import (
    common_pb2,
    computeplan_pb2,
    computetask_pb2,
    function_pb2,
    model_pb2,
)

ME, OTHER = "MyOrg1MSP", "MyOrg2MSP"
IMAGE = "ab" * 32


class Registering:
    """What a test registers; `mine` and `theirs` are the ledger as each of the two sees it."""

    mine: ChannelLedger
    theirs: ChannelLedger

    def function(
        self,
        outputs: Mapping[str, str] | None = None,
        *,
        inputs: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> str:
        """A function of ours whose image is there; `outputs` and `inputs` map identifiers to kinds."""
        key = str(uuid4())
        address = common_pb2.Addressable(
            checksum=hashlib.sha256(key.encode()).hexdigest(),
            storage_address=f"http://127.0.0.1:8000/org-1/function/{key}/file/",
        )
        self.mine.register_function(
            function_pb2.NewFunction(
                key=key,
                name="f",
                description=address,
                archive=common_pb2.Addressable(
                    checksum=address.checksum, storage_address=address.storage_address + "a"
                ),
                new_permissions=common_pb2.NewPermissions(public=True),
                inputs={
                    name: function_pb2.FunctionInput(
                        kind=common_pb2.AssetKind.Value(kind), optional=True, multiple=True
                    )
                    for name, kind in (inputs or {}).items()
                },
                outputs={
                    name: function_pb2.FunctionOutput(kind=common_pb2.AssetKind.Value(kind))
                    for name, kind in (outputs or {"model": "ASSET_MODEL"}).items()
                },
            )
        )
        if ready:
            self.build(key)
        return key

    def build(self, key: str) -> None:
        self.mine.apply_function_action(key, function_pb2.FUNCTION_ACTION_BUILDING)
        image = common_pb2.Addressable(
            checksum=IMAGE, storage_address=f"http://127.0.0.1:8000/org-1/function/{key}/image/"
        )
        self.mine.update_function(function_pb2.UpdateFunctionParam(key=key, name="f", image=image))
        self.mine.apply_function_action(key, function_pb2.FUNCTION_ACTION_READY)

    def plan(self, metadata: Mapping[str, str] | None = None, tag: str = "") -> str:
        key = str(uuid4())
        self.mine.register_plan(
            computeplan_pb2.NewComputePlan(key=key, name="plan", tag=tag, metadata=metadata or {})
        )
        return key

    def task(
        self,
        plan: str,
        function: str,
        *,
        parents: Mapping[str, tuple[str, str]] | None = None,
        shared: Sequence[UUID] = (),
        outputs: Sequence[str] = ("model",),
        transient: bool = False,
        worker: str = ME,
    ) -> UUID:
        """A task; `parents` maps an input to (parent task, output), `shared` are parents of that input."""
        key = str(uuid4())
        given = [(name, *parent) for name, parent in (parents or {}).items()]
        given += [("shared", str(parent), "model") for parent in shared]
        self.mine.register_tasks(
            [
                computetask_pb2.NewComputeTask(
                    key=key,
                    function_key=function,
                    compute_plan_key=plan,
                    worker=worker,
                    inputs=[
                        computetask_pb2.ComputeTaskInput(
                            identifier=name,
                            parent_task_output=computetask_pb2.ParentTaskOutputRef(
                                parent_task_key=parent, output_identifier=output
                            ),
                        )
                        for name, parent, output in given
                    ],
                    outputs={
                        name: computetask_pb2.NewComputeTaskOutput(
                            permissions=common_pb2.NewPermissions(public=True), transient=transient
                        )
                        for name in outputs
                    },
                )
            ]
        )
        return UUID(key)

    def finish_elsewhere(self, task: UUID, model: UUID) -> None:
        """The other organization's task is done, with this model."""
        self.theirs.apply_task_action(str(task), computetask_pb2.TASK_ACTION_EXECUTING, "there")
        self.theirs.register_models(
            [
                model_pb2.NewModel(
                    key=str(model),
                    compute_task_key=str(task),
                    compute_task_output_identifier="model",
                    address=common_pb2.Addressable(
                        checksum=hashlib.sha256(b"weights" + str(task).encode()).hexdigest(),
                        storage_address=f"http://127.0.0.1:8000/org-2/model/{model}/file/",
                    ),
                )
            ]
        )
        self.theirs.apply_task_action(str(task), computetask_pb2.TASK_ACTION_DONE, "there")
