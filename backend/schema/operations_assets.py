"""Operations of functions, data managers and data samples (rest-api.md 8–10)."""

from backend.schema.operation import (
    FILE,
    JSON,
    KEYS,
    MATCH,
    OWNERS,
    PAGE,
    Operation,
    Who,
    commas,
    json_or_form,
    multipart,
    ordering,
    period,
    query,
)
from backend.schema.parts import EMPTY, KEY, array, page, record, ref, text
from backend.schema.shapes import NAME

BINARY = "application/octet-stream"
MARKDOWN = "text/markdown; charset=utf-8"
RENAME = {JSON: record(name=NAME)}
NAMES = commas("name", text("a name"))
FILTERS = (*PAGE, KEYS, OWNERS, NAMES, MATCH, commas("can_process", text("MyOrg1MSP")))
NAMED = (*FILTERS, *period("creation_date"), ordering("creation_date", "key", "name", "owner"))
WHO: Who = "user or organization"

OPERATIONS = (
    Operation(
        "GET",
        "/function/",
        "user",
        page(ref("Function")),
        parameters=(*NAMED, commas("compute_plan_key", KEY)),
    ),
    Operation(
        "POST",
        "/function/",
        "user",
        ref("Function"),
        201,
        body=multipart(ref("NewFunction"), file=FILE, description=FILE),
    ),
    Operation(
        "GET",
        "/compute_plan/{key}/functions/",
        "user",
        page(ref("Function")),
        parameters=NAMED,
    ),
    Operation("GET", "/function/{key}/", "user", ref("Function")),
    Operation("PUT", "/function/{key}/", "user", ref("Function"), body=RENAME),
    Operation("GET", "/function/{key}/file/", WHO, BINARY),
    Operation("GET", "/function/{key}/description/", WHO, MARKDOWN),
    Operation(
        "GET",
        "/function/{key}/image/",
        WHO,
        BINARY,
        parameters=(query("layer", text("sha256:" + "0" * 64)),),
    ),
    Operation(
        "GET",
        "/data_manager/",
        "user",
        page(ref("DataManager")),
        parameters=(
            *NAMED,
            commas("can_access_logs", text("MyOrg1MSP")),
            commas("data_sample_key", KEY),
        ),
    ),
    Operation(
        "POST",
        "/data_manager/",
        "user",
        ref("DataManager"),
        201,
        body=multipart(ref("NewDataManager"), data_opener=FILE, description=FILE),
    ),
    Operation("GET", "/data_manager/{key}/", "user", ref("DataManager")),
    Operation("PUT", "/data_manager/{key}/", "user", ref("DataManager"), body=RENAME),
    Operation("GET", "/data_manager/{key}/opener/", WHO, BINARY),
    Operation("GET", "/data_manager/{key}/description/", WHO, MARKDOWN),
    Operation(
        "GET",
        "/data_sample/",
        "user",
        page(ref("DataSample")),
        parameters=(
            *PAGE,
            KEYS,
            OWNERS,
            query("dataset_key", KEY),
            *period("creation_date"),
            ordering("creation_date", "key", "owner"),
        ),
    ),
    Operation(
        "POST",
        "/data_sample/",
        "user",
        array(ref("StoredDataSample")),
        201,
        body={
            **multipart(record(data_manager_keys=array(KEY)), sample=FILE),
            JSON: ref("NewDataSample"),
        },
    ),
    Operation(
        "POST",
        "/data_sample/bulk_update/",
        "user",
        EMPTY,
        body=json_or_form(record(data_manager_keys=array(KEY), data_sample_keys=array(KEY))),
    ),
    Operation("GET", "/data_sample/{key}/", "user", ref("DataSample")),
)
