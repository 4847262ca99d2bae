"""Outputs are judged from files alone."""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ray_jobs.lease import Lease
from ray_jobs.pod.lease import PodLease
from ray_jobs.pod.outputs import Unfit, deliver
from tests.unit.ray_jobs.pod.api import PodApi

TASK = str(uuid4())


@pytest.fixture
def store() -> Iterator[PodApi]:
    made = PodApi(bytes(32))
    yield made
    made.close()


def lease(*outputs: tuple[str, str]) -> Lease:
    return PodLease.parse(
        {
            "task": TASK,
            "lock_token": "0",
            "function": "f",
            "rank": 0,
            "environment": {"image": "i", "entrypoint": []},
            "inputs": [],
            "outputs": [{"identifier": name, "kind": kind} for name, kind in outputs],
        }
    ).task


def found(folder: Path, store: PodApi, *outputs: tuple[str, str], most: int = 0) -> list[Any]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    uploads = {name: f"{store.url}/files/{name}" for name, _kind in outputs}
    try:
        return deliver(lease(*outputs), descriptor, uploads, most, threading.Event())
    finally:
        os.close(descriptor)


MODEL, SCORE = ("model", "ASSET_MODEL"), ("score", "ASSET_PERFORMANCE")


def test_models_are_uploaded_with_their_salted_digest(store: PodApi, tmp_path: Path) -> None:
    (tmp_path / "model.model").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights" + TASK.encode()).hexdigest()
    assert found(tmp_path, store, MODEL) == [
        {"identifier": "model", "kind": "ASSET_MODEL", "checksum": digest, "size": 7}
    ]
    assert store.files == {"model": b"weights"}


@pytest.mark.parametrize(
    ("text", "value"),
    [('{"all": 1}', 1.0), ('{"all": NaN}', "NaN"), ('{"all": -3e38}', -3e38)],
)
def test_performances_are_numbers(
    text: str, value: float | str, store: PodApi, tmp_path: Path
) -> None:
    (tmp_path / "score-perf.json").write_text(text)
    assert found(tmp_path, store, SCORE)[0]["value"] == value


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"all": "x"}', '{"all": null}', "[" * 100_000])
def test_what_is_no_number_is_unfit_and_uploads_nothing(
    text: str, store: PodApi, tmp_path: Path
) -> None:
    (tmp_path / "model.model").write_bytes(b"weights")
    (tmp_path / "score-perf.json").write_text(text)
    with pytest.raises(Unfit, match="'score' is not JSON"):
        found(tmp_path, store, MODEL, SCORE)
    assert store.files == {}


@pytest.mark.parametrize("text", ['{"all": -Infinity}', '{"all": 1e39}'])
def test_what_no_ledger_can_hold_is_unfit(text: str, store: PodApi, tmp_path: Path) -> None:
    (tmp_path / "score-perf.json").write_text(text)
    with pytest.raises(Unfit, match="'score' is too large"):
        found(tmp_path, store, SCORE)


def test_a_missing_output_is_unfit(store: PodApi, tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="'model' was not written"):
        found(tmp_path, store, MODEL)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_only_regular_files_are_outputs(kind: str, store: PodApi, tmp_path: Path) -> None:
    place = tmp_path / "model.model"
    if kind == "link":
        place.symlink_to("/etc/passwd")
    elif kind == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    with pytest.raises(Unfit, match="not a regular file"):
        found(tmp_path, store, MODEL)
    assert store.files == {}


def test_outputs_have_a_limit_together(store: PodApi, tmp_path: Path) -> None:
    (tmp_path / "model.model").write_bytes(bytes(11))
    with pytest.raises(Unfit, match="11 bytes, more than the 10"):
        found(tmp_path, store, MODEL, most=10)
