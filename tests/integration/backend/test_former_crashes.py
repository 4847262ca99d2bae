"""Every input on which the original API crashes with 500 (rest-api.md 2): here it is refused."""

import io
import math
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from backend.app import create_app
from backend.assets.apply import apply_events
from backend.fixtures.story import key
from backend.node import Node
from backend.settings import Settings
from tests.integration.backend.access.conftest import add_user
from tests.integration.backend.assets.test_apply import trained
from tests.integration.backend.conftest import log_in, serving

P = "/org-1"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def user(settings: Settings, node: Node) -> Iterator[httpx.Client]:
    """User `org-1` of an application that is not isolated; no ledger answers it."""
    settings = settings.model_copy(update={"ISOLATED": False})
    story = trained()
    story.data_manager("dataset")
    story.data_sample("sample", "dataset")
    other = Node.build(settings)
    with serving(create_app(settings, other)) as client:
        with node.database.transaction() as session:
            apply_events(session, "mychannel", story.events)
        client.headers["Authorization"] = f"Token {log_in(client)['token']}"
        yield client
    other.close()


@pytest.mark.parametrize(
    "path",
    [
        "/function/?key=x",
        "/data_manager/?key=x",
        "/data_sample/?key=x",
        "/model/?key=x",
        "/compute_plan/?key=x",
        "/task/?key=x",
        "/performance/?key=x",
        "/task/?compute_plan_key=x",
        "/function/?compute_plan_key=x",
        "/task/?function_key=x",
        "/compute_plan/?function_key=x",
        "/data_sample/?dataset_key=x",
        "/compute_plan/?dataset_key=x",
        "/data_manager/?data_sample_key=x",
        "/compute_plan/?data_sample_key=x",
        "/model/?compute_task_key=x",
        "/task/?rank=one",
        "/task/?rank=1,two",
        f"/compute_plan/{key('plan')}/task/?rank=x",
        "/news_feed/?timestamp_after=yesterday",
        "/news_feed/?timestamp_before=2026-13-01",
    ],
)
def test_malformed_filter_is_named(user: httpx.Client, path: str) -> None:
    answer = user.get(P + path)
    assert answer.status_code == 400, answer.text
    name = path.partition("?")[2].partition("=")[0].removesuffix("_after").removesuffix("_before")
    assert list(answer.json()) == [name]


@pytest.mark.parametrize(
    ("path", "count"),
    [
        (f"/data_sample/?dataset_key={key('dataset')},{UNKNOWN}", 1),
        (f"/task/?function_key={key('train')},{key('broken')}", 6),
        (f"/compute_plan/?function_key={key('train')},{key('broken')}", 3),
    ],
)
def test_several_keys_are_a_list(user: httpx.Client, path: str, count: int) -> None:
    answer = user.get(P + path)
    assert (answer.status_code, answer.json()["count"]) == (200, count)


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
def test_malformed_key_in_a_path_is_named(user: httpx.Client, path: str) -> None:
    answer = user.get(P + path)
    detail = 'key is not a valid UUID: "abc"'
    assert (answer.status_code, answer.json()) == (400, {"detail": detail})


@pytest.mark.parametrize(
    ("path", "model"),
    [
        *((f"/function/{UNKNOWN}/{n}/", "Function") for n in ("file", "description", "image")),
        *((f"/data_manager/{UNKNOWN}/{n}/", "DataManager") for n in ("opener", "description")),
        (f"/model/{UNKNOWN}/file/", "Model"),
        (f"/task/{UNKNOWN}/logs/", "ComputeTask"),
        (f"/logs/{UNKNOWN}/file/", "AssetFailureReport"),
    ],
)
def test_unknown_key_of_a_download_is_not_found(user: httpx.Client, path: str, model: str) -> None:
    answer = user.get(P + path)
    detail = f"No {model} matches the given query."
    assert (answer.status_code, answer.json()) == (404, {"detail": detail})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/compute_plan/", {"key": "abc", "name": "x"}),
        ("/compute_plan/", {"name": "x"}),
        ("/task/bulk_create/", {}),
        ("/task/bulk_create/", {"tasks": None}),
        ("/task/bulk_create/", {"tasks": []}),
        (
            "/task/bulk_create/",
            {"tasks": [{"key": UNKNOWN, "compute_plan_key": "abc", "function_key": UNKNOWN}]},
        ),
        ("/data_sample/", {"data_manager_keys": [UNKNOWN], "path": "/a", "paths": ["/b"]}),
        ("/users/", {"password": "quartz-lantern-95-gravel"}),
        ("/users/", {}),
    ],
)
def test_malformed_creation_is_refused(user: httpx.Client, path: str, body: Any) -> None:
    answer = user.post(P + path, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()


def context() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("Dockerfile", "FROM scratch\n")
        archive.writestr("function.py", "print(1)\n")
    return stream.getvalue()


PERMISSIONS = '"permissions": {"public": true, "authorized_ids": []}'


@pytest.mark.parametrize(
    "document",
    [
        None,
        "{not json",
        "[]",
        f'{{"name": "f", {PERMISSIONS}, "outputs": {{}}}}',
        f'{{"name": "f", {PERMISSIONS}, "inputs": {{}}}}',
    ],
)
def test_function_without_its_declarations_is_refused(
    user: httpx.Client, document: str | None
) -> None:
    files = {"file": ("f.zip", context()), "description": ("d.md", b"words")}
    data = {} if document is None else {"json": document}
    answer = user.post(f"{P}/function/", data=data, files=files)
    assert answer.status_code == 400, answer.text
    assert answer.json()


def test_token_whose_id_is_no_key_is_not_found(user: httpx.Client) -> None:
    answer = user.delete(f"{P}/active-api-tokens/", params={"id": "abc"})
    assert (answer.status_code, answer.json()) == (404, {"detail": "Token not found"})


def test_log_out_with_any_refresh_cookie_succeeds(user: httpx.Client) -> None:
    credentials = {"username": "org-1", "password": "p@sswr0d44"}
    refresh = user.post(f"{P}/me/login/", json=credentials).cookies["refresh"]
    user.cookies.clear()
    for cookie in ("garbage", refresh, refresh):
        answer = user.get(f"{P}/me/logout/", headers={"Cookie": f"refresh={cookie}"})
        assert (answer.status_code, answer.json()) == (200, {})


def test_reset_link_of_an_unknown_user_is_refused(user: httpx.Client) -> None:
    verified = user.get(f"{P}/users/nobody/verify_token/", params={"token": "abc"})
    assert verified.status_code == 401
    body = {"token": "abc", "password": "quartz-lantern-95-gravel"}
    assert user.post(f"{P}/users/nobody/set_password/", json=body).status_code == 401


def test_approval_list_is_for_administrators(user: httpx.Client, node: Node) -> None:
    path = f"{P}/users-awaiting-approval/"
    stranger = {"Authorization": ""}
    assert user.get(path, headers=stranger).status_code == 401
    add_user(node, "waiting", channel=None)
    token = log_in(user, "waiting", "quartz-lantern-95-gravel")["token"]
    assert user.get(path, headers={"Authorization": f"Token {token}"}).status_code == 403


def test_performance_that_is_no_number_is_null(user: httpx.Client, node: Node) -> None:
    with node.database.transaction() as session:
        statement = text("UPDATE performance SET value = :value")
        session.connection().execute(statement, {"value": math.nan})
    perf = user.get(f"{P}/compute_plan/{key('plan')}/perf/").json()
    assert [row["perf"] for row in perf["results"]] == [None]
    assert user.get(f"{P}/performance/").json()["results"][0]["performance"] is None
    assert user.get(f"{P}/performance/export/").status_code == 200


def test_performances_by_the_presence_of_metadata(user: httpx.Client) -> None:
    condition = '[{"key": "round", "type": "exists"}]'
    answer = user.get(f"{P}/performance/", params={"metadata": condition})
    assert (answer.status_code, answer.json()["count"]) == (200, 1)
