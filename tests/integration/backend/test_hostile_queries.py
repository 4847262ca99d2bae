"""Nothing that stands in a query or a path makes a read fail: a clear 4xx, or an answer."""

import httpx

ROUTES = (
    "/function/",
    "/data_manager/",
    "/data_sample/",
    "/model/",
    "/compute_plan/",
    "/task/",
    "/performance/",
    "/organization/",
    "/info/",
    "/active-api-tokens/",
)
NAMES = (
    *("key", "owner", "name", "match", "ordering", "metadata", "status", "page", "page_size"),
    *("creation_date_after", "duration_min", "rank", "can_process", "dataset_key", "creator"),
    *("compute_plan_key", "compute_task_key", "data_sample_key", "function_key", "kind"),
)
VALUES = (
    "\0",
    "'; DROP TABLE function --",
    "%",
    "\\",
    "'\"",
    "9" * 400,
    "-1",
    "١",
    "nan",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "a" * 5_000,
    ",".join("ab"),
    '[{"key": "a\\u0000", "type": "is", "value": {}}]',
    '[{"key": "\\ud800", "type": "is"}]',
    "0001-01-01T00:00:00+23:59",
    "-metadata__x'y",
)
PATHS = (
    "/function/%00/",
    "/function/%ff/",
    "/function/../info/",
    "/data_manager/" + "a" * 3_000 + "/",
    "/model/1/",
    "/task/{}/".format("0" * 32),
)


def test_no_query_makes_a_list_fail(user: httpx.Client) -> None:
    seen: set[int] = set()
    for route in ROUTES:
        for name in NAMES:
            for value in VALUES:
                answer = user.get(f"/org-1{route}", params={name: value})
                assert answer.status_code < 500, (route, name, value, answer.text)
                assert answer.headers["Content-Type"] == "application/json"
                seen.add(answer.status_code)
    assert seen == {200, 400, 404}


def test_no_path_makes_a_read_fail(user: httpx.Client) -> None:
    for path in PATHS:
        answer = user.get(f"/org-1{path}")
        assert answer.status_code in (200, 400, 404), (path, answer.text)
