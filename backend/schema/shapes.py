"""The wire's shapes (rest-api.md 3–17), by their names in the document."""

from backend.schema.parts import (
    ANYTHING,
    COUNT,
    FLAG,
    KEY,
    MOMENT,
    NUMBER,
    TEXT,
    Schema,
    array,
    choice,
    mapping,
    nullable,
    record,
    ref,
    text,
)

KINDS = (
    *("ASSET_MODEL", "ASSET_DATA_SAMPLE", "ASSET_DATA_MANAGER", "ASSET_PERFORMANCE"),
    "ASSET_UNKNOWN",
)
FUNCTION_STATUSES = tuple(
    f"FUNCTION_STATUS_{name}"
    for name in ("READY", "WAITING", "BUILDING", "CANCELED", "FAILED", "UNKNOWN")
)
TASK_STATUSES = tuple(
    f"STATUS_{name}"
    for name in (
        *("DONE", "WAITING_FOR_BUILDER_SLOT", "BUILDING", "WAITING_FOR_PARENT_TASKS"),
        *("WAITING_FOR_EXECUTOR_SLOT", "EXECUTING", "CANCELED", "FAILED"),
    )
)
PLAN_STATUSES = tuple(
    f"PLAN_STATUS_{name}" for name in ("DONE", "CREATED", "DOING", "CANCELED", "FAILED")
)
ERROR_TYPES = ("EXECUTION_ERROR", "BUILD_ERROR", "INTERNAL_ERROR")
TASK_STEPS = ("task_execution", "prepare_inputs", "download_function", "save_outputs")
ROLES = ("USER", "ADMIN")

ORGANIZATION = text("MyOrg1MSP")
NAME = text("a name", maxLength=100)
TAG = text("experiment 7")
METADATA = mapping(TEXT, {"round_idx": "1"})
CHECKSUM = text("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
IDENTIFIER = text("model")
PASSWORD = text("correct horse battery staple")
USERNAME = text("alice")
TOKEN = text("0123456789abcdef0123456789abcdef01234567")
DURATION = {**COUNT, "description": "Whole seconds."}
MICROSECONDS = {**COUNT, "description": "Microseconds.", "example": 52_000}
COUNTS = (
    *("task_count", "done_count", "waiting_builder_slot_count", "building_count"),
    *("waiting_parent_tasks_count", "waiting_executor_slot_count", "executing_count"),
    *("canceled_count", "failed_count"),
)


def _address(path: str) -> Schema:
    at = f"http://127.0.0.1:8000/org-1/{path}"
    storage_address = {"type": "string", "format": "uri", "example": at}
    return record(storage_address=storage_address, checksum=CHECKSUM)


def _inputs(**more: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": record(kind=choice(*KINDS), multiple=FLAG, **more),
        "example": {
            "shared": {"kind": "ASSET_MODEL", "multiple": False, **dict.fromkeys(more, True)}
        },
    }


FUNCTION_FIELDS = {
    "name": NAME,
    "metadata": METADATA,
    "inputs": _inputs(optional=FLAG),
    "outputs": {
        **_inputs(),
        "example": {"model": {"kind": "ASSET_MODEL", "multiple": False}},
    },
}
ROW_OF_PERFORMANCE = {
    "compute_plan_key": KEY,
    "compute_plan_name": TEXT,
    "compute_plan_tag": TEXT,
    "compute_plan_status": choice(*PLAN_STATUSES),
    "compute_plan_start_date": nullable(MOMENT),
    "compute_plan_end_date": nullable(MOMENT),
    "compute_plan_metadata": METADATA,
    "worker": ORGANIZATION,
    "task_rank": COUNT,
    "task_round": nullable(COUNT, 1),
    "identifier": text("performance"),
    "performance": nullable(NUMBER, 0.93),
}
CLAIMS = record(token_type=text("access"), exp=COUNT, iat=COUNT, jti=text("f" * 32), user_id=COUNT)

SHAPES: dict[str, Schema] = {
    "Error": {
        "description": "What was wrong: `detail`, or messages by field.",
        "example": {"detail": "Not found."},
    },
    "Permission": record(public=FLAG, authorized_ids=array(ORGANIZATION)),
    "Permissions": record(process=ref("Permission"), download=ref("Permission")),
    "Function": record(
        key=KEY,
        owner=ORGANIZATION,
        creation_date=MOMENT,
        permissions=ref("Permissions"),
        description=_address("function/2f9b1c62-6c1d-4d0e-9a51-3b1f2f1c7a10/description/"),
        archive=_address("function/2f9b1c62-6c1d-4d0e-9a51-3b1f2f1c7a10/file/"),
        status=choice(*FUNCTION_STATUSES),
        **FUNCTION_FIELDS,
    ),
    "NewFunction": record(("metadata",), permissions=ref("Permission"), **FUNCTION_FIELDS),
    "DataManager": record(
        ("data_sample_keys",),
        key=KEY,
        name=NAME,
        owner=ORGANIZATION,
        creation_date=MOMENT,
        metadata=METADATA,
        permissions=ref("Permissions"),
        logs_permission=ref("Permission"),
        description=_address("data_manager/2f9b1c62-6c1d-4d0e-9a51-3b1f2f1c7a10/description/"),
        opener=_address("data_manager/2f9b1c62-6c1d-4d0e-9a51-3b1f2f1c7a10/opener/"),
        data_sample_keys=array(KEY),
        type=text(""),
    ),
    "NewDataManager": record(
        ("metadata",),
        name=NAME,
        permissions=ref("Permission"),
        logs_permission=ref("Permission"),
        metadata=METADATA,
    ),
    "DataSample": record(
        key=KEY, owner=ORGANIZATION, creation_date=MOMENT, data_manager_keys=array(KEY)
    ),
    "NewDataSample": record(
        ("path", "paths", "multiple"),
        data_manager_keys=array(KEY),
        path=text("/var/substra/servermedias/sample-1"),
        paths=array(text("/var/substra/servermedias/sample-1")),
        multiple=FLAG,
    ),
    "StoredDataSample": record(
        key=KEY,
        owner=ORGANIZATION,
        creation_date=MOMENT,
        data_manager_keys=array(KEY),
        path=nullable(TEXT),
        checksum=CHECKSUM,
    ),
    "ComputePlan": record(
        ("duration", "estimated_end_date", "delete_intermediary_models"),
        key=KEY,
        owner=ORGANIZATION,
        tag=TAG,
        name=NAME,
        creator=nullable(USERNAME, "alice"),
        creation_date=MOMENT,
        start_date=nullable(MOMENT),
        end_date=nullable(MOMENT),
        estimated_end_date=nullable(MOMENT),
        duration=DURATION,
        metadata=METADATA,
        failed_task_key=nullable(KEY),
        status=choice(*PLAN_STATUSES),
        delete_intermediary_models=FLAG,
        **dict.fromkeys(COUNTS, COUNT),
    ),
    "NewComputePlan": record(("tag", "metadata"), key=KEY, name=NAME, tag=TAG, metadata=METADATA),
    "TaskInput": record(
        identifier=text("shared"),
        asset_key=nullable(KEY),
        parent_task_key=nullable(KEY, "7b0f7d2e-4c7c-4a1c-8b7c-0b4b8f6d7c11"),
        parent_task_output_identifier=nullable(IDENTIFIER, "model"),
    ),
    "Task": record(
        ("duration",),
        key=KEY,
        owner=ORGANIZATION,
        worker=ORGANIZATION,
        compute_plan_key=KEY,
        function=ref("Function"),
        rank=COUNT,
        status=choice(*TASK_STATUSES),
        tag=TAG,
        metadata=METADATA,
        creation_date=MOMENT,
        start_date=nullable(MOMENT),
        end_date=nullable(MOMENT),
        duration=DURATION,
        error_type=nullable(choice(*ERROR_TYPES)),
        logs_permission=ref("Permission"),
        inputs=array(ref("TaskInput")),
        outputs=mapping(
            record(permissions=ref("Permissions"), transient=FLAG),
            {
                "model": {
                    "permissions": {
                        "process": {"public": False, "authorized_ids": ["MyOrg1MSP"]},
                        "download": {"public": False, "authorized_ids": ["MyOrg1MSP"]},
                    },
                    "transient": True,
                }
            },
        ),
    ),
    "NewTask": record(
        ("worker", "tag", "metadata", "rank"),
        key=KEY,
        compute_plan_key=KEY,
        function_key=KEY,
        worker=ORGANIZATION,
        tag=nullable(TAG),
        metadata=nullable(METADATA),
        rank=nullable(COUNT),
        inputs=array(ref("TaskInput")),
        outputs=mapping(
            record(("transient",), permissions=ref("Permission"), transient=FLAG),
            {"model": {"permissions": {"public": False, "authorized_ids": []}, "transient": True}},
        ),
    ),
    "TaskAsset": record(identifier=IDENTIFIER, kind=choice(*KINDS), asset=ANYTHING),
    "Model": record(
        key=KEY,
        compute_task_key=KEY,
        owner=ORGANIZATION,
        creation_date=MOMENT,
        permissions=ref("Permissions"),
        address=nullable(_address("model/2f9b1c62-6c1d-4d0e-9a51-3b1f2f1c7a10/file/")),
    ),
    "PlanPerformances": record(
        results=array(
            record(
                compute_task=record(
                    key=KEY,
                    function_key=KEY,
                    rank=COUNT,
                    round_idx=nullable(TEXT, "1"),
                    worker=ORGANIZATION,
                ),
                identifier=text("performance"),
                perf=nullable(NUMBER, 0.93),
            )
        ),
        compute_plan_statistics=nullable(
            record(
                compute_tasks_distinct_ranks=array(COUNT),
                compute_tasks_distinct_rounds=array(nullable(TEXT, "1")),
            ),
            {"compute_tasks_distinct_ranks": [3], "compute_tasks_distinct_rounds": ["1"]},
        ),
    ),
    "Performance": record(**ROW_OF_PERFORMANCE),
    "NewsItem": record(
        asset_kind=choice("ASSET_COMPUTE_PLAN", "ASSET_DATA_MANAGER"),
        asset_key=KEY,
        name=NAME,
        status=choice(
            *(f"STATUS_{name}" for name in ("DONE", "CREATED", "DOING", "FAILED", "CANCELED"))
        ),
        timestamp=MOMENT,
        detail=mapping(nullable(TEXT)),
    ),
    "WorkflowGraph": record(
        tasks=array(
            record(
                key=KEY,
                rank=COUNT,
                worker=ORGANIZATION,
                status=choice(*TASK_STATUSES),
                function_name=NAME,
                inputs_specs=array(record(kind=choice(*KINDS), identifier=IDENTIFIER)),
                outputs_specs=array(record(kind=choice(*KINDS), identifier=IDENTIFIER)),
            )
        ),
        edges=array(
            record(
                source_task_key=KEY,
                source_output_identifier=IDENTIFIER,
                target_task_key=KEY,
                target_input_identifier=text("shared"),
            )
        ),
    ),
    "TaskProfiling": record(
        compute_task_key=KEY,
        task_duration=nullable(MICROSECONDS, 61_000),
        execution_rundown=array(record(step=choice(*TASK_STEPS), duration=MICROSECONDS)),
    ),
    "FunctionProfiling": record(
        function_key=KEY,
        execution_rundown=array(
            record(step=choice("build_image", "save_function"), duration=MICROSECONDS)
        ),
        duration=nullable(MICROSECONDS, 61_000),
    ),
    "ProfilingStep": record(step=choice(*TASK_STEPS), duration=MICROSECONDS),
    "TaskInQueue": record(
        key=KEY,
        status=choice(*TASK_STATUSES),
        worker=ORGANIZATION,
        state=nullable(TEXT, "ready"),
        position=nullable(COUNT, 3),
        reason=nullable(TEXT, "2 tasks stand before it"),
    ),
    "Queue": record(organization=ORGANIZATION, channel=text("mychannel")),
    "Organization": record(
        id=ORGANIZATION,
        address=text("http://127.0.0.1:8000/org-1"),
        creation_date=MOMENT,
        is_current={"type": "boolean", "example": True},
    ),
    "Info": record(
        ("channel", "version", "orchestrator_version", "user", "user_role"),
        host=text("http://127.0.0.1:8000/org-1"),
        organization_id=ORGANIZATION,
        organization_name=text("MyOrg1"),
        config=mapping(ANYTHING, {"model_export_enabled": True}),
        auth=mapping(ANYTHING),
        channel=text("mychannel"),
        version=text("1.0.0"),
        orchestrator_version=nullable(TEXT, "1.0.0"),
        user=USERNAME,
        user_role=choice(*ROLES),
    ),
    "Claims": CLAIMS,
    "Credentials": record(username=USERNAME, password=PASSWORD),
    "Token": record(
        ("note",),
        id=KEY,
        expires_at=MOMENT,
        created_at=MOMENT,
        token=TOKEN,
        note=nullable(TEXT),
    ),
    "ActiveTokens": record(
        tokens=array(record(id=KEY, note=nullable(TEXT), expires_at=MOMENT, created_at=MOMENT)),
        implicit_tokens=array(record(id=KEY, expires_at=MOMENT, created_at=MOMENT)),
    ),
    "User": record(
        username=USERNAME, channel=text("mychannel"), role=choice(*ROLES), is_external_user=FLAG
    ),
}
