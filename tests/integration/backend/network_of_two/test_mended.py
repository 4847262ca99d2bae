"""What the original answers with 500 (rest-api.md 2, the marks (q) of 8–17) is 400, 401, 403 or 404 here."""

import io
import tarfile
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from backend.fixtures.writing import write_sample
from tests.integration.backend.network_of_two.assets import (
    CONTEXT,
    FUNCTION,
    post_data_manager,
    post_function,
    post_samples,
    zipped,
)
from tests.integration.backend.network_of_two.conftest import Network, Organization

NOBODY = UUID(int=0)
FILTERS = {
    "/function/": ("key", "compute_plan_key"),
    "/data_manager/": ("key", "data_sample_key"),
    "/data_sample/": ("key", "dataset_key"),
    "/model/": ("key", "compute_task_key", "compute_task"),
    "/compute_plan/": ("key", "function_key"),
    "/task/": ("key", "compute_plan_key", "function_key", "rank"),
    "/performance/": ("key",),
}


@pytest.fixture(scope="module")
def one(network: Network) -> Organization:
    """Organization 1, with plans in every state."""
    write_sample(network.one.node, "mychannel", "org-1")
    return network.one


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path, names in FILTERS.items() for name in names]
)
def test_filter_that_is_no_key_or_number_is_named(one: Organization, path: str, name: str) -> None:
    answer = one.get(path, params={name: "abc"})
    assert answer.status_code == 400
    assert list(answer.json()) == [name]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data_sample/", "dataset_key"),
        ("/compute_plan/", "function_key"),
        ("/task/", "function_key"),
    ],
)
def test_filter_of_one_value_takes_several(one: Organization, path: str, name: str) -> None:
    several = f"{uuid4()},{uuid4()}"
    answer = one.get(path, params={name: several})
    assert (answer.status_code, answer.json()["count"]) == (200, 0)


@pytest.mark.parametrize("name", ["timestamp_after", "timestamp_before"])
def test_moment_that_is_none_is_named(one: Organization, name: str) -> None:
    answer = one.get("/news_feed/", params={name: "yesterday"})
    assert (answer.status_code, list(answer.json())) == (400, ["timestamp"])


@pytest.mark.parametrize(
    "path",
    [
        "/compute_plan/abc/perf/",
        "/compute_plan/abc/task/",
        "/compute_plan/abc/functions/",
        "/compute_plan/abc/workflow_graph/",
        "/task/abc/input_assets/",
        "/task/abc/output_assets/",
        "/function/abc/file/",
        "/data_manager/abc/opener/",
        "/model/abc/file/",
    ],
)
def test_malformed_key_in_a_path_is_said(one: Organization, path: str) -> None:
    answer = one.get(path)
    assert answer.status_code == 400
    assert answer.json() == {"detail": 'key is not a valid UUID: "abc"'}


@pytest.mark.parametrize(
    "path",
    [
        f"/function/{NOBODY}/file/",
        f"/function/{NOBODY}/description/",
        f"/function/{NOBODY}/image/",
        f"/data_manager/{NOBODY}/opener/",
        f"/data_manager/{NOBODY}/description/",
        f"/model/{NOBODY}/file/",
        f"/task/{NOBODY}/logs/",
        f"/logs/{NOBODY}/file/",
    ],
)
def test_unknown_key_of_a_download_is_404(one: Organization, path: str) -> None:
    assert one.get(path).status_code == 404


def _no_json(one: Organization) -> httpx.Response:
    files: dict[str, Any] = {"file": ("f", zipped(CONTEXT)), "description": ("d", b"x")}
    return one.post("/function/", files=files)


def _malformed_json(one: Organization) -> httpx.Response:
    files: dict[str, Any] = {"json": (None, "{"), "data_opener": ("o", b"x")}
    return one.post("/data_manager/", files=files)


def _without(name: str) -> Callable[[Organization], httpx.Response]:
    document = {key: value for key, value in FUNCTION.items() if key != name}
    return lambda one: post_function(one, document)


def _tasks(body: Any) -> Callable[[Organization], httpx.Response]:
    return lambda one: one.post("/task/bulk_create/", json=body)


def _task_without_asset(one: Organization) -> httpx.Response:
    plan = str(uuid4())
    assert one.post("/compute_plan/", json={"key": plan, "name": "n"}).status_code == 201
    task = {"key": str(uuid4()), "compute_plan_key": plan, "function_key": str(uuid4())}
    inputs = [{"identifier": "shared"}]
    return one.post(
        "/task/bulk_create/", json={"tasks": [{**task, "inputs": inputs, "outputs": {}}]}
    )


def _canceled_twice(one: Organization) -> httpx.Response:
    plan = str(uuid4())
    assert one.post("/compute_plan/", json={"key": plan, "name": "n"}).status_code == 201
    assert one.post(f"/compute_plan/{plan}/cancel/").status_code == 200
    return one.post(f"/compute_plan/{plan}/cancel/")


def _link_in_a_sample(one: Organization) -> httpx.Response:
    manager = str(post_data_manager(one).json()["key"])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return post_samples(one, [manager], buffer.getvalue())


def _both_paths(one: Organization) -> httpx.Response:
    manager = str(post_data_manager(one).json()["key"])
    body = {"data_manager_keys": [manager], "path": "/a", "paths": ["/b"]}
    return one.post("/data_sample/", json=body)


def _nothing_to_register(one: Organization) -> httpx.Response:
    manager = str(post_data_manager(one).json()["key"])
    return one.post("/data_sample/", json={"data_manager_keys": [manager]})


@pytest.mark.parametrize(
    "ask",
    [
        _no_json,
        _malformed_json,
        _without("inputs"),
        _without("outputs"),
        lambda one: one.post("/compute_plan/", json={"key": "abc", "name": "n"}),
        _tasks({}),
        _tasks({"tasks": [{"key": "abc"}]}),
        _tasks({"tasks": [{"compute_plan_key": "abc", "key": str(NOBODY)}]}),
        _task_without_asset,
        _canceled_twice,
        _link_in_a_sample,
        _both_paths,
        _nothing_to_register,
        lambda one: one.post("/users/", json={"password": "correct horse battery staple"}),
        lambda one: one.get("/performance/export/", params={"status": "NONSENSE"}),
        lambda one: one.post("/me/refresh/"),
    ],
)
def test_incomplete_or_senseless_writes_are_refused(
    one: Organization, ask: Callable[[Organization], httpx.Response]
) -> None:
    answer = ask(one)
    assert answer.status_code == 400, answer.text
    assert answer.json()


def test_a_token_that_is_no_key_is_not_found(one: Organization) -> None:
    answer = one.client.delete(one.url + "/active-api-tokens/", params={"id": "abc"})
    assert (answer.status_code, answer.json()) == (404, {"detail": "Token not found"})


@pytest.mark.parametrize("cookie", ["garbage", "a.b.c", ""])
def test_log_out_with_any_refresh_cookie_is_fine(one: Organization, cookie: str) -> None:
    answer = httpx.get(one.url + "/me/logout/", cookies={"refresh": cookie}, timeout=30)
    assert (answer.status_code, answer.json()) == (200, {})


def test_log_out_twice_is_fine(one: Organization) -> None:
    names = {"username": "org-1", "password": "p@sswr0d44"}
    session = httpx.post(one.url + "/me/login/", json=names, timeout=30)
    assert session.status_code == 200
    refresh = {"refresh": session.cookies["refresh"]}
    for _ in range(2):
        assert httpx.get(one.url + "/me/logout/", cookies=refresh, timeout=30).status_code == 200


def test_unknown_user_has_no_valid_reset_token(one: Organization) -> None:
    verified = httpx.get(one.url + "/users/nobody/verify_token/", params={"token": "x"}, timeout=30)
    assert verified.status_code == 401
    body = {"token": "x", "password": "correct horse battery staple"}
    changed = httpx.post(one.url + "/users/nobody/set_password/", json=body, timeout=30)
    assert changed.status_code == 401
    assert changed.json() == {"detail": "must provide a valid token to set a new password"}


def test_awaiting_users_are_for_admins(one: Organization) -> None:
    assert httpx.get(one.url + "/users-awaiting-approval/", timeout=30).status_code == 401
    url = one.url + "/users-awaiting-approval/"
    again = one.client.put(url, params={"username": "org-1"}, json={"role": "USER"})
    assert (again.status_code, again.json()) == (404, {"detail": "User not found"})


def test_metadata_that_exists_and_any_column_can_be_exported(one: Organization) -> None:
    wanted = '[{"key": "nothing", "type": "exists"}]'
    assert one.get("/performance/", params={"metadata": wanted}).json()["count"] == 0
    columns = {"metadata_columns": "worker,identifier,x'y", "page_size": "1"}
    answer = one.get("/performance/export/", params=columns)
    assert answer.status_code == 200
    assert "worker,identifier,x'y" in answer.text.splitlines()[0]
