"""A runner's result against the task: what is accepted, and what is an internal failure."""

import hashlib
import math
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from backend.engine.compute.results import Result, Unacceptable, accept, model_key

TASK, TOKEN = uuid4(), "ab" * 16
MODEL = {"identifier": "model", "kind": "ASSET_MODEL", "multiple": False}
SCORE = {"identifier": "score", "kind": "ASSET_PERFORMANCE", "multiple": False}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "outbox" / str(TASK) / TOKEN
    folder.mkdir(parents=True)
    return folder


def result(*outputs: dict[str, Any], **more: Any) -> Result:
    given = {"task": str(TASK), "lock_token": TOKEN, "exit": 0, "outputs": list(outputs), **more}
    return Result.model_validate(given)


def model(path: Path, **more: Any) -> dict[str, Any]:
    size = path.stat().st_size if path.exists() else 0
    return {**MODEL, "path": str(path), "checksum": "0" * 64, "size": size, **more}


def outbox(folder: Path) -> Path:
    return folder.parent.parent


def test_a_whole_result_is_accepted(folder: Path) -> None:
    (folder / "model").write_bytes(b"weights")
    given = result(model(folder / "model"), {**SCORE, "value": math.nan})
    accepted = accept(given, [MODEL, SCORE], outbox(folder))
    (one,) = accepted.models
    assert (one.key, one.size) == (model_key(TASK, "model", 0), 7)
    assert accepted.performances[0].value == "nan"
    assert accepted.failure is None


def test_models_of_one_output_get_different_keys(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).write_bytes(name.encode())
    several = {**MODEL, "multiple": True}
    given = result(model(folder / "a"), model(folder / "b"))
    accepted = accept(given, [several], outbox(folder))
    assert len({one.key for one in accepted.models}) == 2
    with pytest.raises(Unacceptable, match="more than one"):
        accept(given, [MODEL], outbox(folder))


def test_a_missing_output_is_refused(folder: Path) -> None:
    with pytest.raises(Unacceptable, match="missing: model"):
        accept(result({**SCORE, "value": 1.0}), [MODEL, SCORE], outbox(folder))


@pytest.mark.parametrize("value", [None, math.inf])
def test_a_performance_that_is_no_number_is_refused(folder: Path, value: float | None) -> None:
    with pytest.raises(Unacceptable, match="not a number"):
        accept(result({**SCORE, "value": value}), [SCORE], outbox(folder))


def test_an_output_of_another_kind_is_refused(folder: Path) -> None:
    with pytest.raises(Unacceptable, match="no output"):
        accept(result({**MODEL, "kind": "ASSET_PERFORMANCE", "value": 1}), [MODEL], outbox(folder))


def test_files_outside_the_leases_outbox_are_refused(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s")
    other = folder.parent / "other"
    other.mkdir()
    (other / "model").write_bytes(b"s")
    for path in (secret, folder / ".." / "other" / "model", other / "model"):
        with pytest.raises(Unacceptable, match="regular file"):
            accept(result(model(path)), [MODEL], outbox(folder))


def test_links_are_refused(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s")
    (folder / "model").symlink_to(secret)
    (folder / "inside").symlink_to(tmp_path)
    for path in (folder / "model", folder / "inside" / "secret"):
        with pytest.raises(Unacceptable, match="regular file"):
            accept(result(model(path)), [MODEL], outbox(folder))


def test_a_file_that_is_not_there_or_has_another_size_is_refused(folder: Path) -> None:
    with pytest.raises(Unacceptable, match="not there"):
        accept(result(model(folder / "model")), [MODEL], outbox(folder))
    (folder / "model").write_bytes(b"weights")
    with pytest.raises(Unacceptable, match="another size"):
        accept(result(model(folder / "model", size=3)), [MODEL], outbox(folder))


def test_a_failed_function_brings_its_log(folder: Path) -> None:
    (folder / "log").write_bytes(b"Traceback")
    failure = {"category": "EXECUTION", "reason": "exit 1"}
    accepted = accept(result(failure=failure, log=str(folder / "log")), [MODEL], outbox(folder))
    assert accepted.failure == "EXECUTION"
    assert accepted.log is not None
    assert accepted.log.checksum == hashlib.sha256(b"Traceback").hexdigest()


def test_an_internal_failure_has_no_log(folder: Path) -> None:
    failure = {"category": "INTERNAL", "reason": "no disk"}
    accepted = accept(result(failure=failure, log="/etc/passwd"), [MODEL], outbox(folder))
    assert (accepted.failure, accepted.log, accepted.reason) == ("INTERNAL", None, "no disk")
