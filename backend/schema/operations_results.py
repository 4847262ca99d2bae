"""Operations of plans, tasks and what comes out of them (rest-api.md 11–17)."""

from backend.schema.operation import (
    FORM,
    JSON,
    KEYS,
    MATCH,
    METADATA,
    OWNERS,
    PAGE,
    Operation,
    Who,
    between,
    commas,
    json_or_form,
    ordering,
    period,
    query,
)
from backend.schema.parts import (
    EMPTY,
    FLAG,
    KEY,
    MOMENT,
    TEXT,
    array,
    choice,
    page,
    record,
    ref,
    text,
)
from backend.schema.shapes import KINDS, NAME, PLAN_STATUSES, TASK_STATUSES, TASK_STEPS

WHO: Who = "user or organization"
EVENTS = "text/event-stream; charset=utf-8"
LOG = "text/plain; charset=utf-8"
DATES = ("creation_date", "start_date", "end_date")
PLANS = (
    *PAGE,
    KEYS,
    OWNERS,
    commas("tag", TEXT),
    commas("name", TEXT),
    commas("status", choice(*PLAN_STATUSES)),
    commas("creator", text("alice")),
    commas("function_key", KEY),
    *period(*DATES),
    *between("duration"),
    METADATA,
    MATCH,
    ordering(*DATES, "key", "owner", "status", "tag", "name", "duration", "creator", "metadata__a"),
)
TASKS = (
    *PAGE,
    KEYS,
    OWNERS,
    commas("worker", text("MyOrg1MSP")),
    commas("tag", TEXT),
    commas("rank", {"type": "integer", "example": 3}),
    commas("status", choice(*TASK_STATUSES)),
    commas("compute_plan_key", KEY),
    commas("function_key", KEY),
    *period(*DATES),
    *between("duration"),
    METADATA,
    MATCH,
    ordering(
        *(*DATES, "key", "owner", "rank", "status", "function__name", "tag"),
        *("compute_plan_key", "duration"),
    ),
)
ASSETS = (*PAGE, commas("kind", choice(*KINDS[:4])), commas("identifier", text("shared")))
OF_PLANS = (
    KEYS,
    OWNERS,
    commas("status", choice(*PLAN_STATUSES)),
    commas("identifier", text("performance")),
    commas("creator", text("alice")),
    *period(*DATES),
    *between("duration"),
    METADATA,
    MATCH,
)
STEP = {FORM: record(step=choice(*TASK_STEPS), duration=text("00:00:01.500000"))}

OPERATIONS = (
    Operation("GET", "/compute_plan/", "user", page(ref("ComputePlan")), parameters=PLANS),
    Operation(
        "POST",
        "/compute_plan/",
        "user",
        ref("ComputePlan"),
        201,
        body={JSON: ref("NewComputePlan")},
    ),
    Operation("GET", "/compute_plan/{key}/", "user", ref("ComputePlan")),
    Operation(
        "PUT", "/compute_plan/{key}/", "user", ref("ComputePlan"), body={JSON: record(name=NAME)}
    ),
    Operation("POST", "/compute_plan/{key}/cancel/", "user", EMPTY),
    Operation("GET", "/compute_plan_metadata/", "user", array(text("round_idx"))),
    Operation("GET", "/compute_plan/{key}/workflow_graph/", "user", ref("WorkflowGraph")),
    Operation(
        "POST",
        "/task/bulk_create/",
        "user",
        array(ref("Task")),
        body={JSON: record(tasks=array(ref("NewTask")))},
    ),
    Operation("GET", "/task/", "user", page(ref("Task")), parameters=TASKS),
    Operation("GET", "/compute_plan/{key}/task/", "user", page(ref("Task")), parameters=TASKS),
    Operation("GET", "/task/{key}/", "user", ref("Task")),
    Operation(
        "GET", "/task/{key}/input_assets/", "user", page(ref("TaskAsset")), parameters=ASSETS
    ),
    Operation(
        "GET", "/task/{key}/output_assets/", "user", page(ref("TaskAsset")), parameters=ASSETS
    ),
    Operation(
        "GET",
        "/model/",
        WHO,
        page(ref("Model")),
        parameters=(
            *PAGE,
            KEYS,
            OWNERS,
            commas("compute_task_key", KEY),
            query("compute_task", KEY),
            *period("creation_date"),
            ordering("creation_date", "key"),
        ),
    ),
    Operation(
        "POST",
        "/model/",
        "own backend",
        array(ref("Model")),
        201,
        body=json_or_form(record(metadata=text("[]", description="JSON: a list of models."))),
    ),
    Operation("GET", "/model/{key}/", WHO, ref("Model")),
    Operation("GET", "/model/{key}/file/", WHO, "application/octet-stream"),
    Operation(
        "GET",
        "/compute_plan/{key}/perf/",
        "user",
        ref("PlanPerformances"),
        parameters=(
            ordering(
                *(
                    f"compute_task_output__task__{n}"
                    for n in ("rank", "worker", "metadata__round_idx")
                )
            ),
        ),
    ),
    Operation(
        "GET",
        "/performance/",
        "user",
        page(ref("Performance")),
        parameters=(*PAGE, *OF_PLANS, ordering("task_rank", "task_round", "worker")),
    ),
    Operation(
        "GET",
        "/performance/export/",
        "user",
        "text/csv",
        parameters=(*OF_PLANS, commas("metadata_columns", text("round_idx"))),
    ),
    Operation(
        "GET",
        "/news_feed/",
        "user",
        page(ref("NewsItem")),
        parameters=(
            *PAGE,
            query("important_news_only", FLAG),
            query("timestamp_after", MOMENT),
            query("timestamp_before", MOMENT),
        ),
    ),
    Operation("GET", "/task_profiling/", WHO, page(ref("TaskProfiling")), parameters=PAGE),
    Operation(
        "POST",
        "/task_profiling/",
        "own backend",
        ref("TaskProfiling"),
        201,
        body={FORM: record(compute_task_key=KEY)},
    ),
    Operation("GET", "/task_profiling/{key}/", WHO, ref("TaskProfiling")),
    Operation("PUT", "/task_profiling/{key}/", "own backend", ref("TaskProfiling")),
    Operation(
        "POST",
        "/task_profiling/{key}/step/",
        "own backend",
        ref("ProfilingStep"),
        201,
        body=STEP,
    ),
    Operation(
        "PUT", "/task_profiling/{key}/step/{step}/", "own backend", ref("ProfilingStep"), body=STEP
    ),
    Operation("GET", "/function/{key}/profiling/", "user", ref("FunctionProfiling")),
    Operation("GET", "/task/{key}/logs/", WHO, LOG),
    Operation("GET", "/logs/{key}/file/", WHO, LOG),
    Operation("GET", "/task/{key}/logs/stream/", WHO, EVENTS),
    Operation("GET", "/task/{key}/queue/", WHO, ref("TaskInQueue")),
    Operation("GET", "/queue/", "user", ref("Queue")),
)
