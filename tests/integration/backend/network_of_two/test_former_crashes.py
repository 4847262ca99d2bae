"""Every input on which the original API crashes with 500: here it is refused, or answered (goal 7).

In the order of rest-api.md 2, then of the marks (q) of its sections 3 to 17. docs/compatibility.md lists them
with their tests; what needs other surroundings is tested where that page says.
"""

import io
import math
import tarfile
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from backend.fixtures.writing import write_sample
from tests.integration.backend.access.conftest import GOOD, add_user
from tests.integration.backend.conftest import PASSWORD
from tests.integration.backend.network_of_two.assets import (
    CONTEXT,
    FUNCTION,
    post_data_manager,
    post_function,
    post_paths,
    post_samples,
    zipped,
)
from tests.integration.backend.network_of_two.conftest import Network, Organization

NOBODY = UUID(int=0)
LISTED = {"page_size": "10000"}
Ask = Callable[[Organization], httpx.Response]


@pytest.fixture(scope="module")
def one(network: Network) -> Organization:
    """Organization 1, with plans in every state."""
    write_sample(network.one.node, "mychannel", "org-1")
    return network.one


@pytest.fixture(scope="module")
def plan(one: Organization) -> str:
    """A plan with performances."""
    answer = one.get("/performance/", params={"page_size": "1"})
    return str(answer.json()["results"][0]["compute_plan_key"])


# ---------------------------------------------------------------------- filters
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/function/", "key"),
        ("/function/", "compute_plan_key"),
        ("/data_manager/", "key"),
        ("/data_manager/", "data_sample_key"),
        ("/data_sample/", "key"),
        ("/data_sample/", "dataset_key"),
        ("/model/", "key"),
        ("/model/", "compute_task_key"),
        ("/model/", "compute_task"),
        ("/compute_plan/", "key"),
        ("/compute_plan/", "function_key"),
        ("/compute_plan/", "dataset_key"),
        ("/compute_plan/", "data_sample_key"),
        ("/task/", "key"),
        ("/task/", "compute_plan_key"),
        ("/task/", "function_key"),
        ("/task/", "rank"),
        ("/compute_plan/{plan}/task/", "rank"),
        ("/compute_plan/{plan}/task/", "function_key"),
        ("/compute_plan/{plan}/functions/", "key"),
        ("/performance/", "key"),
        ("/performance/export/", "key"),
    ],
)
@pytest.mark.parametrize("value", ["abc", "1,two"])
def test_filter_that_is_no_key_or_number_is_named(
    one: Organization, plan: str, path: str, name: str, value: str
) -> None:
    answer = one.get(path.format(plan=plan), params={name: value})
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == [name]


def _keys(one: Organization, path: str, **filters: str) -> set[str]:
    answer = one.get(path, params={**filters, **LISTED})
    assert answer.status_code == 200, answer.text
    return {row["key"] for row in answer.json()["results"]}


@pytest.mark.parametrize(
    ("path", "name", "of"),
    [
        ("/data_sample/", "dataset_key", "/data_manager/"),
        ("/compute_plan/", "function_key", "/function/"),
        ("/task/", "function_key", "/function/"),
    ],
)
def test_filter_of_one_value_takes_several(
    one: Organization, path: str, name: str, of: str
) -> None:
    found = {key: _keys(one, path, **{name: key}) for key in _keys(one, of)}
    first, second = [key for key, keys in found.items() if keys][:2]
    assert _keys(one, path, **{name: f"{first},{second}"}) == found[first] | found[second]
    assert _keys(one, path, **{name: f"{first},{uuid4()}"}) == found[first]
    assert _keys(one, path, **{name: f"{uuid4()},{uuid4()}"}) == set()


@pytest.mark.parametrize("name", ["timestamp_after", "timestamp_before"])
@pytest.mark.parametrize("value", ["yesterday", "2026-13-01", "2026-11-24T25:00:00Z"])
def test_moment_that_is_none_is_named(one: Organization, name: str, value: str) -> None:
    answer = one.get("/news_feed/", params={name: value})
    assert (answer.status_code, list(answer.json())) == (400, ["timestamp"])


# ---------------------------------------------------------------------- keys in paths
@pytest.mark.parametrize(
    "path",
    [
        *(f"/compute_plan/abc/{name}/" for name in ("perf", "task", "functions", "workflow_graph")),
        *(f"/task/abc/{name}/" for name in ("input_assets", "output_assets", "logs")),
        *(f"/function/abc/{name}/" for name in ("file", "description", "image")),
        *(f"/data_manager/abc/{name}/" for name in ("opener", "description")),
        "/model/abc/file/",
        "/logs/abc/file/",
    ],
)
def test_malformed_key_in_a_path_is_said(one: Organization, path: str) -> None:
    answer = one.get(path)
    detail = 'key is not a valid UUID: "abc"'
    assert (answer.status_code, answer.json()) == (400, {"detail": detail})


@pytest.mark.parametrize(
    ("path", "model"),
    [
        *((f"/function/{NOBODY}/{n}/", "Function") for n in ("file", "description", "image")),
        *((f"/data_manager/{NOBODY}/{n}/", "DataManager") for n in ("opener", "description")),
        (f"/model/{NOBODY}/file/", "Model"),
        (f"/task/{NOBODY}/logs/", "ComputeTask"),
        (f"/logs/{NOBODY}/file/", "AssetFailureReport"),
    ],
)
def test_unknown_key_of_a_download_is_not_found(one: Organization, path: str, model: str) -> None:
    answer = one.get(path)
    detail = f"No {model} matches the given query."
    assert (answer.status_code, answer.json()) == (404, {"detail": detail})


# ---------------------------------------------------------------------- creations
def _function(document: str | None) -> Ask:
    """A function with this text as its part `json`, or without one."""
    files: dict[str, Any] = {"file": ("f", zipped(CONTEXT)), "description": ("d", b"x")}
    if document is not None:
        files["json"] = (None, document)
    return lambda one: one.post("/function/", files=files)


def _without(name: str) -> Ask:
    document = {key: value for key, value in FUNCTION.items() if key != name}
    return lambda one: post_function(one, document)


def _data_manager_of_no_json(one: Organization) -> httpx.Response:
    files: dict[str, Any] = {"json": (None, "{"), "data_opener": ("o", b"x")}
    return one.post("/data_manager/", files=files)


def _posted(path: str, body: Any) -> Ask:
    return lambda one: one.post(path, json=body)


def _tasks(body: Any) -> Ask:
    return _posted("/task/bulk_create/", body)


def _new_plan(one: Organization) -> str:
    plan = str(uuid4())
    assert one.post("/compute_plan/", json={"key": plan, "name": "n"}).status_code == 201
    return plan


def _task_without_asset(one: Organization) -> httpx.Response:
    task = {"key": str(uuid4()), "compute_plan_key": _new_plan(one), "function_key": str(uuid4())}
    inputs = [{"identifier": "shared"}]
    return _tasks({"tasks": [{**task, "inputs": inputs, "outputs": {}}]})(one)


def _canceled_twice(one: Organization) -> httpx.Response:
    plan = _new_plan(one)
    assert one.post(f"/compute_plan/{plan}/cancel/").status_code == 200
    return one.post(f"/compute_plan/{plan}/cancel/")


def _manager(one: Organization) -> str:
    return str(post_data_manager(one).json()["key"])


def _sample_with(kind: bytes, target: str) -> Ask:
    """A sample whose only entry is of this kind of tar member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("entry")
        entry.type, entry.linkname = kind, target
        archive.addfile(entry)
    return lambda one: post_samples(one, [_manager(one)], buffer.getvalue())


def _many_in_a_folder_without_folders(one: Organization) -> httpx.Response:
    folder = one.node.settings.SERVERMEDIAS_ROOT / f"flat-{uuid4()}"
    folder.mkdir()
    (folder / "file").write_bytes(b"1")
    return post_paths(one, _manager(one), path=str(folder), multiple=True)


def _a_hundred_and_one_parts(one: Organization) -> httpx.Response:
    """The original answers with an HTML page."""
    return post_samples(one, ["abc"], *[zipped({"a": b"1"})] * 101)


@pytest.mark.parametrize(
    "ask",
    [
        _function(None),
        _function("{not json"),
        _function("[]"),
        _without("inputs"),
        _without("outputs"),
        _data_manager_of_no_json,
        _posted("/compute_plan/", {"key": "abc", "name": "n"}),
        _posted("/compute_plan/", {"name": "n"}),
        _tasks({}),
        _tasks({"tasks": None}),
        _tasks({"tasks": []}),
        _tasks({"tasks": [{"key": "abc"}]}),
        _tasks({"tasks": [{"compute_plan_key": "abc", "key": str(NOBODY)}]}),
        _task_without_asset,
        _canceled_twice,
        _sample_with(tarfile.SYMTYPE, "/etc/passwd"),
        _sample_with(tarfile.LNKTYPE, "/etc/passwd"),
        _sample_with(tarfile.CHRTYPE, ""),
        lambda one: post_paths(one, _manager(one), path="/a", paths=["/b"]),
        lambda one: post_paths(one, _manager(one)),
        _many_in_a_folder_without_folders,
        _a_hundred_and_one_parts,
        _posted("/users/", {"password": GOOD}),
        _posted("/users/", {}),
        lambda one: one.get("/performance/export/", params={"status": "NONSENSE"}),
        lambda one: one.post("/me/refresh/"),
    ],
)
def test_incomplete_or_senseless_writes_are_refused(one: Organization, ask: Ask) -> None:
    answer = ask(one)
    assert answer.status_code == 400, answer.text
    assert answer.json()


# ---------------------------------------------------------------------- accounts
def test_a_token_that_is_no_key_is_not_found(one: Organization) -> None:
    answer = one.client.delete(one.url + "/active-api-tokens/", params={"id": "abc"})
    assert (answer.status_code, answer.json()) == (404, {"detail": "Token not found"})


@pytest.mark.parametrize("cookie", ["garbage", "a.b.c", ""])
def test_log_out_with_any_refresh_cookie_is_fine(one: Organization, cookie: str) -> None:
    answer = httpx.get(one.url + "/me/logout/", cookies={"refresh": cookie}, timeout=30)
    assert (answer.status_code, answer.json()) == (200, {})


def test_log_out_twice_is_fine(one: Organization) -> None:
    names = {"username": "org-1", "password": PASSWORD}
    session = httpx.post(one.url + "/me/login/", json=names, timeout=30)
    assert session.status_code == 200
    refresh = {"refresh": session.cookies["refresh"]}
    for _ in range(2):
        answer = httpx.get(one.url + "/me/logout/", cookies=refresh, timeout=30)
        assert (answer.status_code, answer.json()) == (200, {})


def test_unknown_user_has_no_valid_reset_token(one: Organization) -> None:
    verified = httpx.get(one.url + "/users/nobody/verify_token/", params={"token": "x"}, timeout=30)
    assert verified.status_code == 401
    body = {"token": "x", "password": GOOD}
    changed = httpx.post(one.url + "/users/nobody/set_password/", json=body, timeout=30)
    assert changed.status_code == 401
    assert changed.json() == {"detail": "must provide a valid token to set a new password"}


def test_awaiting_users_are_for_administrators(one: Organization) -> None:
    url = one.url + "/users-awaiting-approval/"
    assert httpx.get(url, timeout=30).status_code == 401
    add_user(one.node, "waiting", channel=None)
    names = {"username": "waiting", "password": GOOD}
    token = httpx.post(one.url + "/api-token-auth/", data=names, timeout=30).json()["token"]
    headers = {"Authorization": f"Token {token}"}
    assert httpx.get(url, headers=headers, timeout=30).status_code == 403


def test_a_user_is_approved_once(one: Organization) -> None:
    url = one.url + "/users-awaiting-approval/"
    add_user(one.node, "newcomer", channel=None)
    for username, statuses in (("newcomer", [200, 404]), ("org-1", [404])):
        for status in statuses:
            answer = one.client.put(url, params={"username": username}, json={"role": "USER"})
            assert answer.status_code == status, answer.text
    assert answer.json() == {"detail": "User not found"}


# ---------------------------------------------------------------------- performances
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_performance_that_is_no_number_is_null(one: Organization, plan: str, value: float) -> None:
    with one.node.database.transaction() as session:
        statement = (
            "UPDATE performance SET value = :value WHERE compute_task_key IN"
            " (SELECT key FROM compute_task WHERE compute_plan_key = :plan)"
        )
        session.connection().execute(text(statement), {"value": value, "plan": plan})
    shown = one.get(f"/compute_plan/{plan}/perf/").json()["results"]
    assert {row["perf"] for row in shown} == {None}
    listed = one.get("/performance/", params={"key": plan}).json()["results"]
    assert {row["performance"] for row in listed} == {None}
    exported = one.get("/performance/export/", params={"key": plan})
    assert (exported.status_code, len(exported.text.splitlines())) == (200, len(shown) + 1)


def _performances_with(one: Organization, key: str) -> int:
    wanted = f'[{{"key": "{key}", "type": "exists"}}]'
    return int(one.get("/performance/", params={"metadata": wanted}).json()["count"])


def test_performances_by_the_presence_of_metadata(one: Organization) -> None:
    assert _performances_with(one, "nothing") == 0
    assert _performances_with(one, "learning_rate") > 0


def test_any_column_can_be_exported(one: Organization) -> None:
    columns = {"metadata_columns": "worker,identifier,x'y", "page_size": "1"}
    answer = one.get("/performance/export/", params=columns)
    assert answer.status_code == 200
    assert "worker,identifier,x'y" in answer.text.splitlines()[0]
