"""Tasks on their way into the ledger: its messages."""

from backend.assets.tasks.events import TAG
from backend.assets.tasks.schemas import NewInput, NewTask
from protos.orchestrator import common_pb2, computetask_pb2


def message(task: NewTask) -> computetask_pb2.NewComputeTask:
    """The ledger's form; the tag travels as an entry of the metadata."""
    metadata = dict(task.metadata or {})
    if task.tag:
        metadata[TAG] = task.tag
    return computetask_pb2.NewComputeTask(
        key=str(task.key),
        function_key=str(task.function_key),
        compute_plan_key=str(task.compute_plan_key),
        worker=task.worker or "",
        metadata=metadata,
        inputs=[_input(entry) for entry in task.inputs or []],
        outputs={
            identifier: computetask_pb2.NewComputeTaskOutput(
                permissions=common_pb2.NewPermissions(
                    public=output.permissions.public,
                    authorized_ids=output.permissions.authorized_ids,
                ),
                transient=bool(output.transient),
            )
            for identifier, output in (task.outputs or {}).items()
        },
    )


def _input(entry: NewInput) -> computetask_pb2.ComputeTaskInput:
    result = computetask_pb2.ComputeTaskInput(identifier=entry.identifier)
    if entry.asset_key:
        result.asset_key = entry.asset_key
    elif entry.parent_task_key or entry.parent_task_output_identifier:
        result.parent_task_output.parent_task_key = entry.parent_task_key or ""
        result.parent_task_output.output_identifier = entry.parent_task_output_identifier or ""
    return result
