"""Functions, data managers and data samples from upload to the other organization (rest-api.md 8–10, 18)."""

import hashlib
import json
import struct
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.backend.network_of_two.assets import (
    CONTEXT,
    FUNCTION,
    PRIVATE,
    PUBLIC,
    post_data_manager,
    post_function,
    post_paths,
    post_samples,
    tarred,
    zipped,
)
from tests.integration.backend.network_of_two.conftest import Network, Organization, eventually
from tests.integration.backend.network_of_two.leftovers import held


@pytest.fixture
def untouched(network: Network) -> Iterator[None]:
    """Fails when the test left a file or a row at the first organization."""
    before = held(network.one)
    yield
    assert held(network.one) == before


def test_function_is_seen_and_read_by_both(network: Network) -> None:
    one, two = network.one, network.two
    archive = tarred({**CONTEXT, "sub/x.py": b"1"})
    answer = post_function(one, archive=archive)
    assert answer.status_code == 201, answer.text
    function = answer.json()
    key = function["key"]
    assert function["status"] == "FUNCTION_STATUS_WAITING"
    assert function["inputs"] == {
        name: FUNCTION["inputs"][name] for name in sorted(FUNCTION["inputs"])
    }
    assert list(function["inputs"]) == sorted(FUNCTION["inputs"])
    assert function["outputs"] == FUNCTION["outputs"]
    assert function["archive"]["checksum"] == hashlib.sha256(archive).hexdigest()
    assert function["archive"]["storage_address"] == f"{one.url}/function/{key}/file/"

    there = eventually(lambda: _found(two, f"/function/{key}/"))
    assert there["archive"]["storage_address"] == f"{two.url}/function/{key}/file/"
    masked = {"archive": 0, "description": 0}
    assert {**there, **masked} == {**function, **masked}
    assert two.get(f"/function/?key={key}").json()["results"] == [there]

    for organization in (one, two):
        file = organization.client.get(f"{organization.url}/function/{key}/file/")
        assert (file.status_code, file.content) == (200, archive)
        assert file.headers["Content-Type"] == "application/octet-stream"
        assert file.headers["Access-Control-Expose-Headers"] == "Content-Disposition"
        description = organization.get(f"/function/{key}/description/")
        assert description.headers["Content-Type"] == "text/markdown; charset=utf-8"
        assert description.text == "# What it does é"
        assert organization.get(f"/function/{key}/image/").status_code == 410


def _found(organization: Organization, path: str) -> Any:
    answer = organization.get(path)
    return answer.json() if answer.status_code == 200 else None


def _is_named(organization: Organization, path: str, name: str) -> bool:
    return bool(organization.get(path).json()["name"] == name)


def test_rename_is_answered_with_the_whole_asset_and_reaches_the_other(network: Network) -> None:
    key = post_function(network.one).json()["key"]
    manager = post_data_manager(network.one).json()["key"]
    eventually(lambda: _found(network.two, f"/function/{key}/"))
    eventually(lambda: _found(network.two, f"/data_manager/{manager}/"))
    for path in (f"/function/{key}/", f"/data_manager/{manager}/"):
        url = network.one.url + path
        answer = network.one.client.put(url, json={"name": "another"})
        assert (answer.status_code, answer.json()["name"]) == (200, "another")
        assert network.one.client.put(url, json={}).json() == {"name": ["This field is required."]}
        assert network.one.client.put(url, json={"name": "x" * 101}).status_code == 400
        refused = network.two.client.put(network.two.url + path, json={"name": "mine"})
        assert refused.status_code == 403, refused.text
        eventually(partial(_is_named, network.two, path, "another"))
        assert network.one.client.patch(url).status_code == 405


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("archive", "expected"),
    [
        (b"", [{"file": ["The submitted file is empty."]}]),
        (b"no archive", [{"file": ["Cannot handle this file object."]}]),
        (zipped({"a": b"", "b": b""}), ["Ensure your archive contains a Dockerfile."]),
        (tarred({"./Dockerfile": b"", "b": b""}), ["Ensure your archive contains a Dockerfile."]),
        (
            zipped({"Dockerfile": b""}),
            ["Ensure your archive contains at least one python file."],
        ),
        (
            zipped({**CONTEXT, "../x": b""}),
            [
                "Ensure your archive does not contain traversal filenames "
                "(e.g. filename with `..` inside)"
            ],
        ),
    ],
)
def test_bad_function_archives_leave_nothing_behind(
    network: Network, archive: bytes, expected: list[Any]
) -> None:
    answer = post_function(network.one, archive=archive)
    assert answer.status_code == 400
    assert answer.json() == {"detail": expected, "key": "(not computed)"}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": None}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"permissions": None}, "permissions"),
        ({"permissions": {"authorized_ids": []}}, "permissions"),
        ({"inputs": None}, "inputs"),
        ({"outputs": {"a": {"kind": "nonsense"}}}, "outputs"),
        ({"metadata": {"a": 1}}, "metadata"),
    ],
)
def test_bad_function_fields_are_named(
    network: Network, change: dict[str, Any], field: str
) -> None:
    answer = post_function(network.one, {**FUNCTION, **change})
    assert answer.status_code == 400, answer.text
    assert list(answer.json()["detail"][0]) == [field]


@pytest.mark.usefixtures("untouched")
def test_refusals_of_the_ledger_leave_nothing_behind(network: Network) -> None:
    unknown = {**FUNCTION, "permissions": {"public": False, "authorized_ids": ["nobody"]}}
    answer = post_function(network.one, unknown)
    assert answer.status_code == 400
    assert "invalid permission input values" in answer.json()["detail"]
    long = post_function(network.one, {**FUNCTION, "metadata": {"a": "x" * 101}})
    assert long.status_code == 400
    assert long.json()["detail"].startswith("OE0101")
    reserved = post_function(network.one, {**FUNCTION, "metadata": {"a__b": "x"}})
    assert "cannot be used in a metadata key" in reserved.json()["detail"]


@pytest.mark.usefixtures("untouched")
def test_missing_parts_of_a_function(network: Network) -> None:
    one = network.one
    nothing = one.post("/function/", json=FUNCTION)
    assert nothing.json()["detail"] == ["Can't get hash of file None: file is 'None'"]
    without = post_function(one, description=None)
    assert without.json()["detail"] == [{"description": ["This field may not be null."]}]
    files = {"json": (None, "{"), "file": ("f", zipped(CONTEXT)), "description": ("d", b"x")}
    malformed = one.post("/function/", files=files)
    assert malformed.status_code == 400
    assert malformed.json()["detail"].startswith("JSON parse error")
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    for body in (
        b"",
        b"--b\r\n",
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx',
    ):
        cut = one.client.post(f"{one.url}/function/", content=body, headers=headers)
        assert cut.status_code == 400, body


def test_upload_beyond_the_limit_is_refused(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network.one.node.settings, "DATA_UPLOAD_MAX_SIZE", 1000)
    before = network.one.files()
    answer = post_function(network.one, archive=bytes(2_000_000))
    assert answer.json() == {"detail": ["File too large"], "key": "(not computed)"}
    manager = post_data_manager(network.one).json()["key"]
    sample = post_samples(network.one, [manager], bytes(2_000_000))
    expected = "{'file': [ErrorDetail(string='File too large', code='invalid')]}"
    assert (sample.status_code, sample.json()) == (400, {"detail": expected})
    new = network.one.files() - before
    assert {name.split("/")[1] for name in new} == {"datamanagers"}


@pytest.mark.usefixtures("untouched")
def test_organization_without_builder(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.one.node.settings, "BUILDER_ENABLED", False)
    answer = post_function(network.one)
    assert answer.status_code == 422
    assert answer.json() == {"detail": "No builder available on this organization"}


def test_private_assets_are_known_but_not_given(network: Network) -> None:
    one, two = network.one, network.two
    key = post_function(one, {**FUNCTION, "permissions": PRIVATE}).json()["key"]
    manager = post_data_manager(one, PRIVATE).json()["key"]
    eventually(lambda: _found(two, f"/function/{key}/"))
    eventually(lambda: _found(two, f"/data_manager/{manager}/"))
    for path in (f"/function/{key}/file/", f"/data_manager/{manager}/opener/"):
        assert one.get(path).status_code == 200
        assert two.get(path).status_code == 403
        basic = two.client.get(
            one.url + path,
            auth=("MyOrg2MSP", "s21"),
            headers={"Substra-Channel-Name": "mychannel", "Authorization": ""},
        )
        assert basic.status_code == 403
        assert one.client.get(one.url + path, headers={"Authorization": ""}).status_code == 401
    assert one.get("/function/abc/file/").json() == {"detail": 'key is not a valid UUID: "abc"'}
    missing = one.get("/function/00000000-0000-0000-0000-000000000000/file/")
    assert missing.status_code == 404
    assert missing.json() == {"detail": "No Function matches the given query."}


def test_other_channel_sees_nothing(network: Network) -> None:
    one = network.one
    key = post_function(one).json()["key"]
    answer = one.post(
        "/api-token-auth/", data={"username": "org-1-yourchannel", "password": "p@sswr0d44"}
    )
    headers = {"Authorization": f"Token {answer.json()['token']}"}
    assert one.get("/function/", headers=headers).json()["count"] == 0
    for path in (f"/function/{key}/", f"/function/{key}/file/"):
        assert one.get(path, headers=headers).status_code == 404


def test_data_manager_and_samples(network: Network, tmp_path: Path) -> None:
    one, two = network.one, network.two
    manager = post_data_manager(one).json()
    key = manager["key"]
    assert manager["data_sample_keys"] == []
    assert manager["type"] == ""
    answer = post_samples(one, [key], zipped({"a": b"1", "b/c": b"2"}), tarred({"x": b"3"}))
    assert answer.status_code == 201, answer.text
    samples = answer.json()
    digests = sorted(hashlib.sha256(content).hexdigest() for content in (b"1", b"2"))
    assert samples[0]["checksum"] == hashlib.sha256("".join(digests).encode()).hexdigest()
    assert samples[0]["data_manager_keys"] == [key]
    keys = [sample["key"] for sample in samples]
    assert one.get(f"/data_manager/{key}/").json()["data_sample_keys"] == sorted(keys)
    there = eventually(lambda: _found(two, f"/data_sample/{keys[1]}/"))
    assert there == {
        "key": keys[1],
        "owner": "MyOrg1MSP",
        "creation_date": samples[1]["creation_date"],
        "data_manager_keys": [key],
    }
    listed = two.get(f"/data_sample/?dataset_key={key}&ordering=-key").json()
    assert [sample["key"] for sample in listed["results"]] == sorted(keys, reverse=True)
    assert two.get(f"/data_manager/?data_sample_key={keys[0]}").json()["count"] == 1
    assert two.get(f"/data_manager/{key}/opener/").content == b"class Opener: ..."


def test_links_are_added_by_a_form(network: Network) -> None:
    one = network.one
    first, second = (post_data_manager(one).json()["key"] for _ in range(2))
    (sample,) = post_samples(one, [first], zipped({"a": b"1"})).json()
    fields = {"data_manager_keys": second, "data_sample_keys": sample["key"]}
    answer = one.post("/data_sample/bulk_update/", data=fields)
    assert (answer.status_code, answer.json()) == (200, {})
    shown = one.get(f"/data_sample/{sample['key']}/").json()
    assert shown["data_manager_keys"] == sorted([first, second])
    assert one.get(f"/data_manager/{second}/").json()["data_sample_keys"] == [sample["key"]]
    eventually(
        lambda: (_found(network.two, f"/data_manager/{second}/") or {}).get("data_sample_keys")
    )
    assert one.post("/data_sample/bulk_update/", json={}).status_code == 400
    theirs = network.two.post("/data_sample/bulk_update/", data=fields)
    assert theirs.status_code == 403


def _detail(reason: str) -> str:
    return f"[ErrorDetail(string={reason!r}, code='invalid')]"


def test_bad_samples_leave_nothing_behind(network: Network) -> None:
    one = network.one
    manager = post_data_manager(one).json()["key"]
    before = held(one)
    good = zipped({"a": b"1"})
    cases = [
        (b"nonsense", "Archive must be zip or tar"),
        (zipped({}), "Ensure your archive contains at least one file."),
        (
            zipped({"../a": b""}),
            "Ensure your archive does not contain traversal filenames "
            "(e.g. filename with `..` inside)",
        ),
    ]
    for archive, reason in cases:
        answer = post_samples(one, [manager], good, archive)
        assert (answer.status_code, answer.json()) == (400, {"detail": _detail(reason)})
    nothing: list[Any] = [[], None]
    for keys in nothing:
        answer = one.post("/data_sample/", json={"data_manager_keys": keys})
        assert answer.json() == {"detail": "missing or empty field 'data_manager_keys'"}
    unknown = post_samples(one, ["00000000-0000-0000-0000-000000000000"], good)
    assert unknown.status_code == 400
    assert "do not exist in local database" in unknown.json()["detail"]
    theirs = post_samples(network.two, [manager], good)
    assert theirs.status_code == 400
    assert held(one) == before


def test_samples_by_path(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = network.one
    volume = one.node.settings.SERVERMEDIAS_ROOT
    manager = post_data_manager(one).json()["key"]
    for name in ("many/a", "many/b"):
        (volume / name).mkdir(parents=True)
        (volume / name / "data").write_text(name)
    (volume / "empty").mkdir()
    (volume / "link").symlink_to(tmp_path)
    post = partial(post_paths, one, manager)
    made = post(paths=[str(volume / "many/a"), str(volume / "many/b")])
    assert made.status_code == 201, made.text
    assert [sample["path"] for sample in made.json()] == [None, None]
    again = post(path=str(volume / "many"), multiple="true").json()
    assert [s["checksum"] for s in again] == [s["checksum"] for s in made.json()]
    monkeypatch.setattr(one.node.settings, "ENABLE_DATASAMPLE_STORAGE_IN_SERVERMEDIAS", True)
    kept = post(path=str(volume / "many/a")).json()
    assert kept[0]["path"] == str(volume / "many/a")
    assert kept[0]["checksum"] == again[0]["checksum"]
    reasons = {
        str(tmp_path): f"Invalid path, should be a subdir of servermedias {tmp_path}",
        str(volume / "link"): f"Invalid path, {volume / 'link'} should not use symlink",
        str(volume / "none"): f"Invalid path, not found: {volume / 'none'}",
        str(volume / "many/a/data"): f"Invalid path, not a directory: {volume / 'many/a/data'}",
        str(volume / ("x" * 300)): f"Invalid path, not found: {volume / ('x' * 300)}",
        str(volume / "empty"): f"Invalid path, empty directory: {volume / 'empty'}",
    }
    for path, reason in reasons.items():
        answer = post(path=path)
        assert (answer.status_code, answer.json()) == (400, {"detail": _detail(reason)})
    outside = post(path=f"{volume}-beside/x")
    assert outside.json()["detail"].startswith("[ErrorDetail(string='Invalid path, should be")
    assert post(path="a", paths=["b"]).status_code == 400
    assert post().status_code == 400


@pytest.mark.usefixtures("untouched")
def test_zip_bomb_gets_a_400(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Dockerfile", b"x")
        archive.writestr("zeros", b"0")
    data = bytearray(path.read_bytes())
    directory = data.rfind(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 0xFFFFFFF0)
    answer = post_function(network.one, archive=bytes(data))
    assert answer.status_code == 400
    assert answer.json()["detail"] == ["Ensure your archive is not too large when unpacked."]


def test_pages_follow_each_other(network: Network) -> None:
    one = network.one
    keys = [post_data_manager(one, PUBLIC).json()["key"] for _ in range(5)]
    mine = f"key={','.join(keys)}"
    first = one.get(f"/data_manager/?{mine}&page_size=2&ordering=-creation_date&no=1").json()
    assert first["count"] == 5
    assert first["previous"] is None
    assert first["next"] == (
        f"{one.url}/data_manager/?key={'%2C'.join(keys)}&no=1&ordering=-creation_date"
        "&page=2&page_size=2"
    )
    found, page = list(first["results"]), first
    while page["next"]:
        page = one.client.get(page["next"] + "&ordering=-creation_date").json()
        found += page["results"]
    assert [manager["key"] for manager in found] == keys[::-1]
    assert page["previous"].endswith("page=2&page_size=2")
    assert one.get(f"/data_manager/?{mine}&page=9").json() == {"detail": "Invalid page."}
    assert one.get(f"/data_manager/?{mine}&page=last&page_size=2").json()["results"] == [found[0]]
    assert one.get(f"/data_manager/?{mine}&page_size=0").json()["count"] == 5
    assert one.get("/data_manager/?key=abc").status_code == 400
    assert json.loads(one.get("/data_manager/?owner=MyOrg2MSP").text)["count"] == 0
